"""The stand-in for mmcv's compiled operators is there for one import, and never silently used."""

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.utils.dl_utils import mmcv_full_available

from mmseg_cascadepsp.compat.mmcv_ops import EXTENSION, MissingExtension, import_mmcv_ops

lite = pytest.mark.skipif(
    importlib.util.find_spec(EXTENSION) is not None, reason='the full mmcv is installed'
)


@pytest.fixture
def forgotten_ops():
    """``mmcv.ops`` as if it had never been imported; put back after the test."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ops(name)}
    yield
    for name in list(sys.modules):
        if is_ops(name):
            del sys.modules[name]
    sys.modules.update(kept)


def is_ops(name: str) -> bool:
    return name == 'mmcv.ops' or name.startswith('mmcv.ops.')


@lite
def test_mmengine_is_not_deceived():
    assert EXTENSION not in sys.modules
    assert not mmcv_full_available()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(EXTENSION)
    # Code of mmengine that takes another way with the full mmcv.
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    reverted = revert_sync_batchnorm(convert_sync_batchnorm(model))
    assert not isinstance(reverted[1], torch.nn.SyncBatchNorm)


@lite
def test_calling_an_operator_tells_what_to_install():
    from mmcv.ops import sigmoid_focal_loss

    with pytest.raises(RuntimeError, match="'sigmoid_focal_loss_forward'.*install the full mmcv"):
        sigmoid_focal_loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))


@lite
@pytest.mark.parametrize('kind', ['FCNHead', 'ASPPHead', 'PSPHead', 'EncHead', 'UPerHead'])
def test_heads_that_need_no_operator_are_registered(kind):
    from mmseg.registry import MODELS

    assert MODELS.get(kind) is not None


def test_missing_extension_has_functions_but_no_magic():
    extension = MissingExtension(EXTENSION)
    assert callable(extension.anything)
    assert not hasattr(extension, '__path__')


def test_a_second_call_does_nothing():
    module = sys.modules['mmcv.ops']
    assert import_mmcv_ops() is False
    assert sys.modules['mmcv.ops'] is module


def test_full_mmcv_is_used_as_it_is(monkeypatch, forgotten_ops):
    spec = importlib.machinery.ModuleSpec(EXTENSION, None)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
    assert import_mmcv_ops() is False
    assert 'mmcv.ops' not in sys.modules and EXTENSION not in sys.modules


@lite
def test_stand_in_is_removed_when_the_import_fails(monkeypatch, forgotten_ops):
    seen = []

    def fail(name):
        seen.append(type(sys.modules[EXTENSION]))
        raise ImportError(name)

    monkeypatch.setattr(importlib, 'import_module', fail)
    with pytest.raises(ImportError):
        import_mmcv_ops()
    assert seen == [MissingExtension] and issubclass(seen[0], ModuleType)
    assert EXTENSION not in sys.modules
