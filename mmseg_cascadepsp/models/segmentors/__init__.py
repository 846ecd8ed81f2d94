from .cascade_psp import CascadePSP
from .refined_segmentor import RefinedSegmentor, RefinedSegTTAModel
from .stored_predictions import StoredPredictions

__all__ = ['CascadePSP', 'RefinedSegTTAModel', 'RefinedSegmentor', 'StoredPredictions']
