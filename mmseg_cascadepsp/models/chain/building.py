"""The two networks of a refined segmentor, from their configs."""

import copy
import os
from collections.abc import Mapping

from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmseg.registry import MODELS
from torch import nn

from mmseg_cascadepsp.errors import InvalidValueError


def check_segmentor_weights(
    segmentor: nn.Module, checkpoint: Mapping, name: str | None = None
) -> None:
    """See that a checkpoint has every weight of a segmentor; MMEngine would only warn.

    Args:
        segmentor: The segmentor alone; an auxiliary head, which testing does without, may lack.
        checkpoint: What was loaded, of the segmentor or of a :class:`RefinedSegmentor`.
        name: Of the file, for the sentence.

    Raises:
        ValueError: Weights are missing or of another shape.
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
            f'of its {len(own)} weights are missing or of another shape, first {wrong[0]}; '
            'it belongs to another config'
        )


def build_segmentor(segmentor: dict | str | nn.Module, preprocessor: dict | None) -> nn.Module:
    """The segmentor; ``preprocessor`` where it has none of its own."""
    if isinstance(segmentor, nn.Module):
        return segmentor
    if isinstance(segmentor, (str, os.PathLike)):
        path = os.fspath(segmentor)
        cfg = get_config(path) if '::' in path else Config.fromfile(path)
        segmentor, preprocessor = cfg.model, cfg.get('data_preprocessor', preprocessor)
    # MMSeg's models read their configs by attribute, and change them.
    segmentor = ConfigDict(copy.deepcopy(segmentor))
    if preprocessor is not None:
        segmentor.setdefault('data_preprocessor', preprocessor)
    return MODELS.build(segmentor)


def build_refiner(
    refiner: str | Mapping | nn.Module, checkpoint: str | None, precision: str
) -> tuple[nn.Module, bool]:
    """The refiner, and whether it has weights. Arguments as of
    :class:`~mmseg_cascadepsp.models.RefinedSegmentor`."""
    # The zoo of weights belongs to the Python interface, above models.
    from mmseg_cascadepsp.models.refiner import zoo as model_zoo
    from mmseg_cascadepsp.models.refiner.checkpoint import load_weights, read_state_dict
    from mmseg_cascadepsp.models.refiner.onnx import OnnxRefiner, is_exported

    if is_exported(refiner):
        model = OnnxRefiner(refiner)
        model.check_settings(checkpoint, None, precision, None)
        return model.eval(), True
    if isinstance(refiner, nn.Module):
        model_zoo.check_refiner(refiner, type(refiner).__name__)
        model, label, loaded = refiner, type(refiner).__name__, True
    else:
        model, label = model_zoo.build_model(refiner)
        loaded = False
        if checkpoint is None and model_zoo.is_name(refiner):
            checkpoint = model_zoo.find_weights(label)
    if checkpoint is not None:
        load_weights(model, read_state_dict(checkpoint), checkpoint, label)
        loaded = True
    return model.eval(), loaded
