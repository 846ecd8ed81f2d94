"""One sentence where a version outside the supported range is met."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import mmseg_cascadepsp
from mmseg_cascadepsp.compat import versions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pretend(monkeypatch):
    """Makes some modules have other versions."""

    def change(**changed: str) -> None:
        real = versions.installed_version
        monkeypatch.setattr(
            versions, 'installed_version', lambda module: changed.get(module) or real(module)
        )

    return change


def test_the_tested_versions_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        versions.check_versions()


@pytest.mark.parametrize(
    'module, version',
    [
        ('torch', '2.5.1+cu124'),
        ('torch', '2.15.0'),
        ('torch', '3.0.0'),
        ('mmcv', '2.2.0'),
        ('mmcv', '1.7.2'),
        ('mmengine', '0.10.3'),
        ('mmseg', '0.30.0'),
        ('mmseg', 'unknown'),
    ],
)
def test_outside_the_range(pretend, module, version):
    pretend(**{module: version})
    with pytest.warns(UserWarning, match=f'{module} {re.escape(version)} .*is supported') as told:
        versions.check_versions()
    assert len(told) == 1


@pytest.mark.parametrize('version', ['2.6.0', '2.13.0+cpu', '2.14.1+cu130', '2.9.0.dev1'])
def test_builds_and_patches_inside_the_range(pretend, version):
    pretend(torch=version)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        versions.check_versions()


def test_several_make_one_sentence(pretend):
    pretend(torch='9.0', mmengine='9.0')
    with pytest.warns(UserWarning, match='torch 9.0 .*mmengine 9.0 ') as told:
        versions.check_versions()
    assert len(told) == 1


@pytest.mark.parametrize('module', ['torch', 'mmcv', 'mmengine'])
def test_a_missing_package_is_named(monkeypatch, module):
    def missing(name):
        raise ModuleNotFoundError(f'No module named {name!r}', name=name)

    monkeypatch.setattr(importlib, 'import_module', missing)
    with pytest.raises(ImportError, match=f'needs {versions.SUPPORTED[module][0]} ') as told:
        versions.installed_version(module)
    assert str(told.value).endswith(versions.install_command(module))


def break_import_of_mmseg(monkeypatch, error: Exception) -> None:
    real = importlib.import_module

    def broken(name, *args):
        if name.partition('.')[0] == 'mmseg':
            raise error
        return real(name, *args)

    monkeypatch.setattr(importlib, 'import_module', broken)


@pytest.mark.parametrize(
    'error, sentence',
    [
        (
            ModuleNotFoundError("No module named 'ftfy'", name='ftfy'),
            '\'ftfy\' is not installed: pip install "ftfy"',
        ),
        (
            ModuleNotFoundError("No module named 'mmseg'", name='mmseg'),
            '\'mmseg\' is not installed: pip install "mmsegmentation>=1.2.1,<2.0.0"',
        ),
        (
            ModuleNotFoundError("No module named 'pkg_resources'", name='pkg_resources'),
            'pip install "setuptools<82"',
        ),
        (AssertionError('Something of its own.'), 'does not run with Something of its own'),
    ],
)
def test_mmseg_that_cannot_be_imported(monkeypatch, error, sentence):
    break_import_of_mmseg(monkeypatch, error)
    with pytest.raises(ImportError, match=sentence):
        versions.require_mmseg()


@pytest.mark.parametrize('distribution', ['mmcv', 'mmcv-lite'])
def test_mmcv_that_mmseg_refuses_is_named_with_its_pin(pretend, monkeypatch, distribution):
    pretend(mmcv='2.2.0')
    real = importlib.metadata.version

    def version(name):
        if name in ('mmcv', 'mmcv-lite') and name != distribution:
            raise importlib.metadata.PackageNotFoundError(name)
        return '2.2.0' if name == distribution else real(name)

    monkeypatch.setattr(importlib.metadata, 'version', version)
    pin = re.escape(f'pip install "{distribution}>=2.0.0,<2.2.0"')
    with pytest.warns(UserWarning, match=f'mmcv 2.2.0 .*{pin}'):
        versions.check_versions()
    # What MMSegmentation itself says would bring the same version again.
    refusal = 'MMCV==2.2.0 is used but incompatible. Please install mmcv>=2.0.0rc4.'
    break_import_of_mmseg(monkeypatch, AssertionError(refusal))
    with pytest.raises(ImportError, match=f'does not run with mmcv 2.2.0: {pin}$'):
        versions.require_mmseg()


def test_mmseg_without_metadata_is_not_judged(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'version', unknown)
    assert versions.installed_version('mmseg') is None


def read_requirements(name: str) -> dict:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    parsed = [Requirement(text) for line in lines if (text := line.partition('#')[0].strip())]
    return {item.name: item for item in parsed if item.marker is None or item.marker.evaluate()}


def test_pins_are_inside_the_ranges():
    pins = read_requirements('env')
    for name, pin in pins.items():
        assert re.fullmatch(r'==[0-9.]+', str(pin.specifier)), f'{name} is not pinned exactly'
    pin = {
        'torch': 'torch',
        'mmcv': 'mmcv-lite',
        'mmengine': 'mmengine',
        'mmseg': 'mmsegmentation',
    }
    for module, (_, lowest, highest) in versions.SUPPORTED.items():
        version = Version(str(pins[pin[module]].specifier)[2:])
        assert Version(lowest) <= version < Version(highest)
    for name in ('runtime', 'tests', 'train'):
        for item in read_requirements(name).values():
            if item.name in pins:
                assert item.specifier.contains(str(pins[item.name].specifier)[2:]), item


def test_the_requirements_have_the_same_lower_bounds():
    runtime = read_requirements('runtime')
    for name, (distribution, lowest, _) in versions.SUPPORTED.items():
        if name in ('mmengine', 'mmseg'):
            assert f'>={lowest}' in str(runtime[distribution].specifier)


def test_installing_replaces_neither_torch_nor_mmcv():
    runtime = read_requirements('runtime')
    assert not runtime['torch'].specifier
    assert not any(name.startswith('mmcv') for name in runtime)


@pytest.mark.slow
def test_a_fresh_import_is_silent_and_registers():
    code = (
        'import mmseg_cascadepsp; from mmseg.registry import MODELS; '
        'assert MODELS.get("CascadePSP") and MODELS.get("RefinementHead"); '
        'from mmseg_cascadepsp import Refiner; print(Refiner.__name__)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'Refiner\n' and done.stderr == ''


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Refine'"):
        mmseg_cascadepsp.Refine  # noqa: B018
