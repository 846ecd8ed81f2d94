"""Configs as command lines read them, and what their console says."""

import io
import logging

import pytest
from mmengine.logging import MMLogger

from mmseg_cascadepsp.cli.configs import QuietRunner, data_roots, read_config
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.chain.building import build_segmentor
from mmseg_cascadepsp.models.refiner.configs import building
from mmseg_cascadepsp.models.refiner.zoo import build_model, find_config

CHAIN = 'configs/deeplabv3plus_refined_persons-cats-horses.py'


@pytest.mark.parametrize('name', ["Anna's photos", 'a\\1b', 'Größe "neu"', "\\'"])
def test_a_folder_of_any_name_in_the_environment(tmp_path, monkeypatch, name):
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', f'{tmp_path}/{name}')
    roots = data_roots(read_config(CHAIN))
    assert roots and all(root.startswith(f'{tmp_path}/{name}/') for root in roots)


MISTAKES = {
    'syntax': ("model = dict(type='CascadePSP'\n", r'SyntaxError: .* was never closed .*line 1'),
    'name': ('model = dict(type=CascadePSP)\n', "NameError: name 'CascadePSP' is not defined"),
    'base': ("_base_ = 'other.py'\n", 'No such file or directory: .*other.py'),
    'import': ("custom_imports = dict(imports=['no_such'])\n", "No module named 'no_such'"),
    'bytes': ('\udcff', "codec can't decode byte 0xff"),
    'no model': ('a = 1\n', 'has no model'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_in_a_config_is_told_wherever_it_is_read(tmp_path, mistake):
    text, words = MISTAKES[mistake]
    path = tmp_path / 'my.py'
    path.write_text(text, errors='surrogateescape')
    for read in (
        lambda: read_config(str(path)),
        lambda: build_model(path),
        lambda: build_segmentor(path, None),
    ):
        with pytest.raises(
            InvalidValueError, match=f'config .*my.py (cannot be read: )?.*{words}'
        ):
            read()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ("type='NoSuchModel'", 'NoSuchModel is not in the mmseg::model registry; check the types'),
        ("backbone=dict(type='NoSuchNet')", 'NoSuchNet is not in the mmseg::model registry'),
        ("backbone=dict(type='')", 'Failed to get'),
        ('data_preprocessor=dict(std={1, 2})', 'dtype of set'),
        ('depth=3', "got an unexpected keyword argument 'depth'"),
    ],
)
def test_a_config_of_types_and_arguments_that_do_not_exist(tmp_path, changes, words):
    base = find_config('_base_/models/cascadepsp_lite.py')
    (tmp_path / 'my.py').write_text(f"_base_ = '{base}'\nmodel = dict({changes})\n")
    with pytest.raises(InvalidValueError, match=f'the model of the config .*my.py .*: .*{words}'):
        build_model(tmp_path / 'my.py')
    cfg = read_config(str(tmp_path / 'my.py'), {'work_dir': str(tmp_path)})
    cfg.default_scope = 'mmseg'
    with pytest.raises(InvalidValueError, match=f'the run of .*my.py cannot be built: .*{words}'):
        QuietRunner.from_cfg(cfg)
    with pytest.raises(InvalidValueError, match='the segmentor cannot be built: '):
        build_segmentor(cfg.model, None)


def test_a_fault_of_the_package_while_a_model_is_built_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), building('a model'):
        print(1 / 0)


def test_the_console_goes_without_dumps(monkeypatch):
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', 'elsewhere')
    logger, told = MMLogger.get_current_instance(), io.StringIO()
    console = logging.StreamHandler(told)
    logger.addHandler(console)
    try:
        read_config(CHAIN)
        for text in (
            'Config:\nmodel = dict()',
            '\n----\nSystem environment:\n  Python: 3',
            'kept',
        ):
            logger.info(text)
        logger.info('before and after:\n' + '| a |\n' * 20)
    finally:
        logger.removeHandler(console)
    assert 'kept' in told.getvalue() and told.getvalue().count('| a |') == 20
    for word in ('Config:', 'System environment', 'env variable'):
        assert word not in told.getvalue()
