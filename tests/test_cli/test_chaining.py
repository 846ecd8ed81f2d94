"""What tools/test.py does with a config."""

import pytest
from mmengine.config import Config

from mmseg_cascadepsp.cli import chaining, test
from mmseg_cascadepsp.cli.configs import is_remote, read_config
from tests.chaining import write_ade20k


@pytest.fixture
def cfg(tmp_path):
    write_ade20k(tmp_path / 'sets/ADEChallengeData2016')
    cfg = read_config('configs/deeplabv3plus_refined_ade20k.py')
    assert cfg.test_dataloader.dataset.data_root.endswith('ADEChallengeData2016')
    return cfg


def test_the_data_root_is_the_set_or_the_folder_above_it(cfg, tmp_path):
    own = str(tmp_path / 'sets/ADEChallengeData2016')
    for given in (own, str(tmp_path / 'sets')):
        chaining.check_data(cfg, given)
        assert cfg.test_dataloader.dataset.data_root == own
    write_ade20k(tmp_path / 'sets')  # now both could be meant
    with pytest.raises(ValueError, match='--data-root: both .*sets and .*hold what looks like'):
        chaining.check_data(cfg, str(tmp_path / 'sets'))


def test_addresses_are_left_to_the_file_backends(cfg):
    assert is_remote('s3://bucket/ade')
    chaining.check_data(cfg, 's3://bucket/ade')
    assert cfg.test_dataloader.dataset.data_root == 's3://bucket/ade'


@pytest.mark.parametrize('hooks', [{}, {'default_hooks': {'timer': {'type': 'IterTimerHook'}}}])
def test_pictures_where_the_config_has_no_hook_for_them(hooks, tmp_path):
    plain = Config(dict(model=dict(type='EncoderDecoder'), **hooks))
    chaining.write_results(plain, show_dir=str(tmp_path))
    assert plain.default_hooks.visualization.draw and plain.visualizer.save_dir == str(tmp_path)
    chaining.draw_pictures(plain, show=True)
    assert plain.default_hooks.visualization.show


def test_a_precision_without_a_refiner_is_refused(tmp_path):
    (tmp_path / 'plain.py').write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(ValueError, match='--precision is that of a refiner, and .* has none'):
        test.main([str(tmp_path / 'plain.py'), '--precision', 'fp32'])
