"""What the OpenMMLab stack needs to run beside a current torch, applied when it is imported."""

import warnings

from .mmcv_ops import import_mmcv_ops
from .torchvision_probe import probe_torchvision
from .versions import check_versions, require_mmseg

# mmengine finds ``_base_ = 'mmseg::...'`` by pkg_resources; its warning is not for our user.
warnings.filterwarnings('ignore', 'pkg_resources is deprecated as an API', UserWarning)

probe_torchvision()
check_versions()  # before mmcv.ops and mmseg are imported: a version too far off makes them fail
import_mmcv_ops()
require_mmseg()

from .safe_loading import allow_mmengine_checkpoints  # noqa: E402  mmengine is known to be there

allow_mmengine_checkpoints()

__all__ = [
    'allow_mmengine_checkpoints',
    'check_versions',
    'import_mmcv_ops',
    'probe_torchvision',
    'require_mmseg',
]
