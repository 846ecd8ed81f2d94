"""The chain: any MMSeg segmentor, then the refiner."""

from .choice import STRATEGIES, build_strategy, choose_strategy, known_strategy
from .classes import STUFF, find_background, stuff_ids
from .refined_segmentor import RefinedSegmentor, RefinedSegTTAModel
from .stored_predictions import StoredPredictions
from .strategies import BinaryStrategy, SceneParsingStrategy, SemanticStrategy, Strategy

__all__ = [
    'STRATEGIES',
    'STUFF',
    'BinaryStrategy',
    'RefinedSegTTAModel',
    'RefinedSegmentor',
    'SceneParsingStrategy',
    'SemanticStrategy',
    'StoredPredictions',
    'Strategy',
    'build_strategy',
    'choose_strategy',
    'find_background',
    'known_strategy',
    'stuff_ids',
]
