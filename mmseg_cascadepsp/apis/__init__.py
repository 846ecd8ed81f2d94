from .checkpoint import convert_checkpoint, load_weights, read_state_dict
from .model_zoo import ZOO, build_model, find_config, find_weights
from .refiner import Refiner

__all__ = [
    'ZOO',
    'Refiner',
    'build_model',
    'convert_checkpoint',
    'find_config',
    'find_weights',
    'load_weights',
    'read_state_dict',
]
