from .optim_wrapper import BFloat16OptimWrapper
from .refined_results import RefinedResultsHook

__all__ = ['BFloat16OptimWrapper', 'RefinedResultsHook']
