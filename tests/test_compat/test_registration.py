"""Importing the package is cheap, and registers with MMSegmentation in every order of imports."""

import subprocess
import sys

import pytest

import mmseg_cascadepsp

LIGHT = """
import sys
import mmseg_cascadepsp
assert 'Refiner' in dir(mmseg_cascadepsp) and 'models' in dir(mmseg_cascadepsp)
assert not {'torch', 'mmengine', 'mmcv', 'mmseg', 'numpy'} & set(sys.modules)
"""
ALL = """
from mmseg.registry import *
for registry, name in (
    (LOOPS, 'ResumableTrainLoop'), (DATA_SAMPLERS, 'ResumableSampler'), (MODELS, 'CascadePSP'),
    (HOOKS, 'RefinedResultsHook'), (OPTIM_WRAPPERS, 'BFloat16OptimWrapper'),
    (DATASETS, 'PlaceSeededDataset'), (DATASETS, 'BIGDataset'), (TRANSFORMS, 'PerturbMask'),
    (METRICS, 'BoundarySegMetric'), (TASK_UTILS, 'SceneParsingStrategy'),
):
    assert registry.get(name) is not None, name
"""
#: A test's name -> a program.
ORDERS = {
    'the package first': f'import mmseg_cascadepsp{ALL}',
    'a name of mmseg after the package': f"""
import mmseg_cascadepsp
from mmseg.apis import init_model
from mmseg.models import EncoderDecoder
{ALL}""",
    'all of mmseg before the package': f"""
import sys, types
import mmcv, mmengine
class Extension(types.ModuleType):  # as with the full mmcv, beside which mmseg imports alone
    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return lambda *args: None
sys.modules['mmcv._ext'] = Extension('mmcv._ext')
import mmseg.datasets, mmseg.engine, mmseg.evaluation, mmseg.models
del sys.modules['mmcv._ext']
import mmseg_cascadepsp
{ALL}""",
    'custom_imports of a config': f"""
from mmengine.config import Config
Config.fromstring("custom_imports = dict(imports=['mmseg_cascadepsp'])", '.py')
{ALL}""",
    'the scope of a registry of mmengine': """
import mmseg_cascadepsp
from mmengine.registry import MODELS
assert MODELS.get('mmseg.CascadePSP').__module__ == 'mmseg_cascadepsp.models.refiner.cascade_psp'
""",
    'a data set first, as a worker that unpickles it': """
import pickle, mmseg_cascadepsp.datasets.transforms.perturb as module
pickle.loads(pickle.dumps(module.PerturbMask))
from mmseg.registry import TRANSFORMS
assert TRANSFORMS.get('PerturbMask') is module.PerturbMask
""",
    'a hook alone': """
import mmseg_cascadepsp
from mmseg.registry import HOOKS
assert HOOKS.get('CollapseGuardHook') is not None
""",
    'a checkpoint in the package': """
import mmseg_cascadepsp
from mmseg.apis import init_model
from mmengine.runner import CheckpointLoader
name = 'package://mmseg_cascadepsp/weights/cascadepsp_lite.pth'
assert CheckpointLoader.load_checkpoint(name, 'cpu')['state_dict']
""",
    'a sampler alone': """
import mmseg_cascadepsp
from mmengine.registry import DATA_SAMPLERS
assert DATA_SAMPLERS.get('mmseg.ResumableSampler') is not None
""",
    'a refiner, which needs no data sets': """
import sys
from mmseg_cascadepsp import Refiner, CascadeSettings
assert 'mmseg.datasets' not in sys.modules and 'mmseg.engine' not in sys.modules
""",
}


def test_importing_is_cheap():
    subprocess.run([sys.executable, '-W', 'error', '-c', LIGHT], check=True)


@pytest.mark.slow  # a process of its own for each
@pytest.mark.parametrize('order', ORDERS)
def test_everything_is_registered_in_any_order(order):
    subprocess.run([sys.executable, '-W', 'ignore', '-c', ORDERS[order]], check=True)


def test_front_doors():
    from mmseg_cascadepsp import CascadeSettings, Refiner, find_config, refine_files  # noqa: F401
    from mmseg_cascadepsp.apis import Refiner as held

    assert Refiner is held
    with pytest.raises(AttributeError, match="has no attribute 'Refner'"):
        mmseg_cascadepsp.Refner  # noqa: B018
