from .optim_wrapper import BFloat16OptimWrapper
from .package_weights import load_from_package
from .refined_results import RefinedResultsHook

__all__ = ['BFloat16OptimWrapper', 'RefinedResultsHook', 'load_from_package']
