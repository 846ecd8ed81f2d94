from .checkpoint import convert_checkpoint, load_weights, publish_checkpoint, read_state_dict
from .export import OnnxRefiner, export_refiner
from .folder import Report, join_processes, refine_files
from .large import refine_file
from .memory import keep_freed_memory
from .model_zoo import ZOO, build_model, find_config, find_weights
from .pairs import EXTRAS, Pair, find_pairs, refine_pair
from .quantize import Agreement, calibration_photos, export_int8
from .ray_data import refine_files_with_ray
from .refiner import Refiner

__all__ = [
    'EXTRAS',
    'ZOO',
    'Agreement',
    'OnnxRefiner',
    'Pair',
    'Refiner',
    'Report',
    'build_model',
    'calibration_photos',
    'convert_checkpoint',
    'export_int8',
    'export_refiner',
    'find_config',
    'find_pairs',
    'find_weights',
    'join_processes',
    'keep_freed_memory',
    'load_weights',
    'publish_checkpoint',
    'read_state_dict',
    'refine_file',
    'refine_files',
    'refine_files_with_ray',
    'refine_pair',
]
