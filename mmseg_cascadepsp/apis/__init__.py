from .checkpoint import convert_checkpoint, load_weights, publish_checkpoint, read_state_dict
from .folder import EXTRAS, Pair, Report, find_pairs, refine_files, refine_pair
from .model_zoo import ZOO, build_model, find_config, find_weights
from .refiner import Refiner

__all__ = [
    'EXTRAS',
    'ZOO',
    'Pair',
    'Refiner',
    'Report',
    'build_model',
    'convert_checkpoint',
    'find_config',
    'find_pairs',
    'find_weights',
    'load_weights',
    'publish_checkpoint',
    'read_state_dict',
    'refine_files',
    'refine_pair',
]
