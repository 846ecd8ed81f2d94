"""Parts of training and testing: hooks, checkpoints, resuming, several processes."""

from .cascade_pictures import CascadePicturesHook
from .checkpoints import AtomicBackend, SafeCheckpointHook
from .collapse_guard import CollapseGuardHook, TrainingCollapsedError
from .optim_wrapper import BFloat16OptimWrapper
from .package_weights import fetch, load_from_package, load_from_web
from .processes import prepare_processes
from .refined_results import RefinedResultsHook
from .resumable import (
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
    'fetch',
    'load_from_package',
    'load_from_web',
    'prepare_processes',
]
