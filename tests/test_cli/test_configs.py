"""Configs as command lines read them, and what their console says."""

import io
import logging

import pytest
from mmengine.logging import MMLogger

from mmseg_cascadepsp.cli.configs import data_roots, read_config

CHAIN = 'configs/deeplabv3plus_refined_persons-cats-horses.py'


@pytest.mark.parametrize('name', ["Anna's photos", 'a\\1b', 'Größe "neu"', "\\'"])
def test_a_folder_of_any_name_in_the_environment(tmp_path, monkeypatch, name):
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', f'{tmp_path}/{name}')
    roots = data_roots(read_config(CHAIN))
    assert roots and all(root.startswith(f'{tmp_path}/{name}/') for root in roots)


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
