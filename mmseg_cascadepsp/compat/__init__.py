"""What the OpenMMLab stack needs to run beside a current torch, applied when mmcv is imported."""

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
    """Make torch, mmcv and mmengine run together; once is enough.

    Raises:
        MissingPackageError: torch, mmcv or mmengine is not installed.

    Example:
        >>> prepare_stack()
    """
    probe_torchvision()
    check_versions()  # before mmcv.ops: a version too far off makes its import fail
    import_mmcv_ops()
    allow_mmengine_checkpoints()
