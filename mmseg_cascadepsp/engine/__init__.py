from mmseg_cascadepsp.engine.cascade_pictures import CascadePicturesHook
from mmseg_cascadepsp.engine.checkpoints import AtomicBackend, SafeCheckpointHook
from mmseg_cascadepsp.engine.collapse_guard import CollapseGuardHook, TrainingCollapsedError
from mmseg_cascadepsp.engine.optim_wrapper import BFloat16OptimWrapper
from mmseg_cascadepsp.engine.package_weights import load_from_package
from mmseg_cascadepsp.engine.processes import prepare_processes
from mmseg_cascadepsp.engine.refined_results import RefinedResultsHook
from mmseg_cascadepsp.engine.resumable import (
    PlaceSeededDataset,
    ResumableSampler,
    ResumableTrainLoop,
)

__all__ = [
    'AtomicBackend',
    'BFloat16OptimWrapper',
    'CascadePicturesHook',
    'CollapseGuardHook',
    'PlaceSeededDataset',
    'RefinedResultsHook',
    'ResumableSampler',
    'ResumableTrainLoop',
    'SafeCheckpointHook',
    'TrainingCollapsedError',
    'load_from_package',
    'prepare_processes',
]
