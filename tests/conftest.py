"""For all tests: MMSeg's registries in scope, as its tools have them, and the same examples in
every run of the property tests (HYPOTHESIS_PROFILE=search looks for new ones).
"""

import os
from unittest import mock

# Before torch is imported: processes of tests side by side have a core each, so their threads, and
# those of the scripts they start, would only wait for each other.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
from hypothesis import settings
from mmengine.registry import init_default_scope

import mmseg_cascadepsp  # noqa: F401  registers everything

pytest_plugins = ['tests.tiny']

settings.register_profile('same', derandomize=True)
settings.register_profile('search', derandomize=False)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'same'))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Before all fixtures: a runner of an earlier test may have left another scope."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def own_environment():
    """Scripts set variables of the environment for what they build; the next test has its own."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def tiff_handles(monkeypatch):
    """Handles of all TIFF files that the test opens for reading."""
    tifffile = pytest.importorskip('tifffile')
    opened = []

    class Kept(tifffile.TiffFile):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            opened.append(self.filehandle)

    monkeypatch.setattr(tifffile, 'TiffFile', Kept)
    return opened
