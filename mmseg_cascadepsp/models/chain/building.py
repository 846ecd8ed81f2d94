"""The two networks of a refined segmentor, from their configs."""

import copy
import os
from collections.abc import Mapping

from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmseg.registry import MODELS
from torch import nn

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.refiner import zoo
from mmseg_cascadepsp.models.refiner.inference import CascadeNetwork


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
    refiner: str | Mapping | nn.Module, checkpoint: str | None
) -> tuple[nn.Module, bool]:
    """The refiner as a module, and whether it has weights.

    Args:
        refiner: See :class:`~mmseg_cascadepsp.models.RefinedSegmentor`. Weights of a config may
            come later, with the chain's own checkpoint.
        checkpoint: Its weights; by default those of its name.
    """
    if zoo.is_exported(refiner):
        refiner = zoo.OnnxRefiner(refiner)
        refiner.check_settings(checkpoint, None, 'auto')
        return refiner.eval(), True
    if isinstance(refiner, nn.Module):
        model, label, loaded = refiner, type(refiner).__name__, True
        zoo.check_refiner(model, label)
    else:
        model, label = zoo.build_model(refiner)
        loaded = False
        if checkpoint is None and zoo.is_name(refiner):
            checkpoint = zoo.find_weights(label)
    if checkpoint is not None:
        zoo.load_weights(model, zoo.read_state_dict(checkpoint), checkpoint, label)
        loaded = True
    return model.eval(), loaded


def as_network(refiner: nn.Module, precision: str) -> Network:
    """A refiner's module as the network of a cascade."""
    return refiner if isinstance(refiner, Network) else CascadeNetwork(refiner, precision)
