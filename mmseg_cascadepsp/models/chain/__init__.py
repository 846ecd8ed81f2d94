"""Any segmentor of MMSeg, followed by the refiner."""

from .classes import STUFF, find_background, stuff_ids
from .refined_segmentor import RefinedSegmentor
from .stored_predictions import StoredPredictions
from .strategies import (
    STRATEGIES,
    BinaryStrategy,
    SceneParsingStrategy,
    SemanticStrategy,
    Strategy,
    build_strategy,
    choose_strategy,
    known_strategy,
)
from .tta import RefinedSegTTAModel

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
