"""For all tests: MMSeg's registries in scope, as its tools have them."""

import pytest
from mmengine.registry import init_default_scope

import mmseg_cascadepsp  # noqa: F401  registers everything


@pytest.fixture(autouse=True, scope='session')
def default_scope():
    init_default_scope('mmseg')
