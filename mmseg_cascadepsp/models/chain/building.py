"""Building segmentor and refiner from configs."""

import copy
import os
from collections.abc import Mapping

from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.refiner import zoo
from mmseg_cascadepsp.models.refiner.configs import building, load_config
from mmseg_cascadepsp.models.refiner.inference import CascadeNetwork


def check_segmentor_weights(
    segmentor: nn.Module, checkpoint: Mapping, name: str | None = None
) -> None:
    """Check that a checkpoint has all weights of a segmentor. MMEngine would only warn.

    Args:
        segmentor: The segmentor. Weights of its auxiliary head are not needed.
        checkpoint: Content of a checkpoint of the segmentor or of a :class:`RefinedSegmentor`.
        name: Name of the file, for the error message.

    Raises:
        InvalidValueError: Weights are missing or of another shape.

    Example:
        >>> check_segmentor_weights(nn.Linear(2, 1), nn.Linear(2, 1).state_dict())
    """
    saved = {
        key.removeprefix('module.').removeprefix('segmentor.'): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }
    own = dict(segmentor.named_parameters())
    wrong = [
        key
        for key, value in own.items()
        if not key.startswith('auxiliary_head')
        and (key not in saved or saved[key].shape != value.shape)
    ]
    if wrong:
        raise InvalidValueError(
            f'the checkpoint {f"{name} " if name else ""}does not fit the segmentor: {len(wrong)} '
            f'of its {len(own)} weights are missing or of another shape, first {wrong[0]}. '
            'The checkpoint and the config must belong together.'
        )


def build_segmentor(segmentor: dict | str | nn.Module, preprocessor: dict | None) -> nn.Module:
    """Build a segmentor.

    Args:
        segmentor: A module, which is returned, a config, or a config file.
        preprocessor: Config of the data preprocessor, if the segmentor's config has none.

    Raises:
        InvalidValueError: The config file or config has a mistake.

    Example:
        >>> build_segmentor(nn.Identity(), None)
        Identity()
    """
    if isinstance(segmentor, nn.Module):
        return segmentor
    if isinstance(segmentor, (str, os.PathLike)):
        path = os.fspath(segmentor)
        cfg = load_config(path)
        if 'model' not in cfg:
            raise InvalidValueError(f'segmentor: the config {path} has no model.')
        segmentor, preprocessor = cfg.model, cfg.get('data_preprocessor', preprocessor)
    # Models of MMSeg read configs by attribute and change them.
    segmentor = ConfigDict(copy.deepcopy(segmentor))
    if preprocessor is not None:
        segmentor.setdefault('data_preprocessor', preprocessor)
    with building('the segmentor'):
        return MODELS.build(segmentor)


def build_refiner(
    refiner: str | Mapping | nn.Module, checkpoint: str | None
) -> tuple[nn.Module, bool]:
    """Build a refiner.

    Args:
        refiner: See :class:`~mmseg_cascadepsp.models.RefinedSegmentor`.
        checkpoint: Its weights. Named refiners load their own by default. Others may get theirs
            later from a checkpoint of the whole :class:`RefinedSegmentor`.

    Returns:
        The module, and whether it has its weights.

    Raises:
        InvalidValueError: The refiner is unknown, or the weights do not fit.
        InvalidTypeError: The module is no refiner.
        FileError: A config or weights cannot be read.

    Example:
        >>> refiner, has_weights = build_refiner('lite', None)
        >>> type(refiner).__name__, has_weights
        ('CascadePSP', True)
    """
    if zoo.is_exported(refiner):
        refiner = zoo.OnnxRefiner(refiner)
        refiner.check_settings(checkpoint, None, 'auto')
        return refiner.eval(), True
    model, _, has_weights = zoo.load_module(refiner, checkpoint)
    return model.eval(), has_weights


def as_network(refiner: nn.Module, precision: str) -> Network:
    """Wrap the module of a refiner as a network of the cascade.

    Args:
        refiner: Result of :func:`build_refiner`.
        precision: See :class:`~mmseg_cascadepsp.models.refiner.inference.CascadeNetwork`.

    Example:
        >>> as_network(build_refiner('lite', None)[0], 'fp32').strides
        (8, 4, 1)
    """
    return refiner if isinstance(refiner, Network) else CascadeNetwork(refiner, precision)
