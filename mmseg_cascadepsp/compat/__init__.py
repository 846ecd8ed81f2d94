"""Fixes that OpenMMLab's packages need with a current PyTorch, applied when mmcv is imported."""

from .mmcv_ops import import_mmcv_ops
from .safe_loading import allow_mmengine_checkpoints
from .torchvision_probe import probe_torchvision
from .versions import check_versions, require_mmseg

__all__ = [
    'allow_mmengine_checkpoints',
    'check_versions',
    'import_mmcv_ops',
    'prepare_stack',
    'probe_torchvision',
    'require_mmseg',
]


def prepare_stack() -> None:
    """Apply all fixes. Call it once, before MMSegmentation is imported.

    Raises:
        MissingPackageError: torch, mmcv or mmengine is not installed.

    Example:
        >>> prepare_stack()
    """
    probe_torchvision()
    check_versions()  # before mmcv.ops: a version too far off makes its import fail
    import_mmcv_ops()
    allow_mmengine_checkpoints()
