"""What the OpenMMLab stack needs to run beside a current torch: applied once, when this package is imported."""
from .mmcv_ops import import_mmcv_ops
from .safe_loading import allow_mmengine_checkpoints
from .torchvision_probe import probe_torchvision
from .versions import check_versions, require_mmseg

probe_torchvision()
check_versions()  # before mmcv.ops and mmseg are imported: a version too far off makes them fail
import_mmcv_ops()
require_mmseg()
allow_mmengine_checkpoints()

__all__ = [
    'allow_mmengine_checkpoints', 'check_versions', 'import_mmcv_ops', 'probe_torchvision',
    'require_mmseg'
]
