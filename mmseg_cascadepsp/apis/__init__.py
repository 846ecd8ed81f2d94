"""What a Python user holds: the refiner, runs over files, and weights by name."""

from mmseg_cascadepsp.compat.memory import keep_freed_memory
from mmseg_cascadepsp.files.folder_run import Report, join_processes, refine_files
from mmseg_cascadepsp.files.large import refine_file
from mmseg_cascadepsp.files.one_pair import refine_pair
from mmseg_cascadepsp.files.pairs import Pair, find_pairs
from mmseg_cascadepsp.files.run_options import EXTRAS
from mmseg_cascadepsp.models.refiner.checkpoint import (
    load_weights,
    publish_checkpoint,
    read_state_dict,
)
from mmseg_cascadepsp.models.refiner.onnx import OnnxRefiner
from mmseg_cascadepsp.models.refiner.zoo import (
    ZOO,
    build_model,
    convert_checkpoint,
    find_config,
    find_weights,
)

from .inputs import read_inputs, read_photo
from .ray_data import refine_files_with_ray
from .refiner import Refiner
from .results import draw_before_after, save_mask

__all__ = [
    'EXTRAS',
    'ZOO',
    'OnnxRefiner',
    'Pair',
    'Refiner',
    'Report',
    'build_model',
    'convert_checkpoint',
    'draw_before_after',
    'find_config',
    'find_pairs',
    'find_weights',
    'join_processes',
    'keep_freed_memory',
    'load_weights',
    'publish_checkpoint',
    'read_inputs',
    'read_photo',
    'read_state_dict',
    'refine_file',
    'refine_files',
    'refine_files_with_ray',
    'refine_pair',
    'save_mask',
]
