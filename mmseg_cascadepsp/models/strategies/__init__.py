"""Strategies for label maps: scene parsing, semantic, binary. See :mod:`.strategies`."""
from .choice import STRATEGIES, build_strategy, choose_strategy, known_strategy
from .classes import STUFF, find_background, stuff_ids
from .strategies import BinaryStrategy, SceneParsingStrategy, SemanticStrategy, Strategy

__all__ = [
    'STRATEGIES', 'STUFF', 'BinaryStrategy', 'SceneParsingStrategy', 'SemanticStrategy',
    'Strategy', 'build_strategy', 'choose_strategy', 'find_background', 'known_strategy',
    'stuff_ids'
]
