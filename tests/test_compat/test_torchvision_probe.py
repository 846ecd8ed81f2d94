"""A torchvision that does not fit the installed torch counts as not installed."""

import importlib
import sys
import warnings

import pytest
from mmengine.utils.dl_utils import collect_env

from mmseg_cascadepsp.compat.torchvision_probe import probe_torchvision


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes ``import torchvision`` run the source given, for one test."""

    def write(source: str) -> None:
        (tmp_path / 'torchvision').mkdir()
        (tmp_path / 'torchvision' / 'part.py').touch()
        (tmp_path / 'torchvision' / '__init__.py').write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))

    def names() -> list:
        return [name for name in sys.modules if name.partition('.')[0] == 'torchvision']

    kept = {name: sys.modules.pop(name) for name in names()}
    yield write
    for name in names():
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.mark.parametrize(
    'error', ["RuntimeError('operator torchvision::nms does not exist')", "OSError('libcudart')"]
)
def test_a_broken_one_is_hidden(install, error):
    install(f'import torchvision.part\nraise {error}')
    with pytest.warns(UserWarning, match=f'torchvision is left out.*{error.partition("(")[0]}'):
        assert probe_torchvision() is False
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('torchvision')
    assert 'torchvision.part' not in sys.modules
    assert 'TorchVision' not in collect_env()  # would raise the error again
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert probe_torchvision() is False  # told once


def test_a_working_one_is_used(install):
    install("__version__ = '0.28.0'")
    assert probe_torchvision() is True
    assert collect_env()['TorchVision'] == '0.28.0'
    assert probe_torchvision() is True


def test_none_is_no_reason_to_warn(install, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert probe_torchvision() is False
