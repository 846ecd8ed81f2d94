"""What is said where a package cannot be imported."""

import importlib
import sys

import pytest

from mmseg_cascadepsp.app import BROUGHT, extra
from mmseg_cascadepsp.errors import MissingPackageError


@pytest.mark.parametrize('name', BROUGHT)
def test_a_package_of_the_extra_that_lacks_is_told_with_the_remedy(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    remedy = f'{name}.* the server needs the extra "app": pip install "mmseg_cascadepsp.app."'
    with pytest.raises(MissingPackageError, match=remedy), extra():
        importlib.import_module(name)


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('from os import no_such_name', 'cannot import name .no_such_name'),
        ('import no_such_package', "No module named 'no_such_package'"),
        ('import fastapi.no_such_part', "No module named 'fastapi.no_such_part'"),
    ],
)
def test_any_other_fault_of_an_import_is_shown_as_it_is(monkeypatch, tmp_path, text, error):
    (tmp_path / 'broken.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'broken', raising=False)
    with pytest.raises(ImportError, match=error) as caught, extra():
        importlib.import_module('broken')
    assert not isinstance(caught.value, MissingPackageError)
