"""Where data sets are, told by what is there."""

import pytest

from mmseg_cascadepsp.cli import chaining
from mmseg_cascadepsp.cli.configs import read_config
from mmseg_cascadepsp.cli.data import choose_root, missing_of, use_own_folders

CAMVID = 'configs/deeplabv3plus_efficientnet-lite0_camvid.py'
SET = {
    'type': 'CamVidDataset',
    'data_prefix': dict(img_path='images/train', seg_map_path='annotations/train'),
}


def lay_out(folder):
    for split in ('train', 'val', 'test'):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True)
    return str(folder)


def test_what_of_a_set_is_missing(tmp_path):
    root = lay_out(tmp_path / 'camvid')
    assert missing_of(SET, root) == []
    assert missing_of(SET, f'{root}/no')[0] == f'{root}/no'
    assert missing_of({**SET, 'ann_file': 'list.txt'}, root) == [f'{root}/list.txt']


@pytest.mark.parametrize('root', ['s3://bucket/camvid', 'petrel://camvid', 'http://a.b/camvid'])
def test_addresses_are_left_to_mmengine(root):
    assert missing_of(SET, root) == []
    assert choose_root(SET, root, f'{root}/camvid') == root
    assert missing_of({**SET, 'data_prefix': dict(img_path='s3://bucket/a')}, '.') == []


@pytest.mark.parametrize('given', ['own', 'above'])
def test_data_root_is_the_set_s_folder_or_the_one_above(tmp_path, monkeypatch, given):
    monkeypatch.delenv('MMSEG_CASCADEPSP_DATA', raising=False)
    own = lay_out(tmp_path / ('my photos' if given == 'own' else 'camvid'))
    root = own if given == 'own' else str(tmp_path)
    cfg = read_config(CAMVID)
    chaining.check_data(cfg, root)
    assert cfg.test_dataloader.dataset.data_root == own
    cfg = read_config(CAMVID, data_root=root)
    use_own_folders(cfg, root)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.data_root == own


def test_two_folders_that_could_be_meant_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv('MMSEG_CASCADEPSP_DATA', raising=False)
    lay_out(tmp_path)
    lay_out(tmp_path / 'camvid')
    root = str(tmp_path)
    with pytest.raises(ValueError, match=f'both {root} and {root}/camvid hold what looks like'):
        chaining.check_data(read_config(CAMVID), root)
    with pytest.raises(ValueError, match=f'both {root} and {root}/camvid hold what looks like'):
        use_own_folders(read_config(CAMVID, data_root=root), root)


def test_pairs_of_photos_and_masks_are_below_their_root(tmp_path, monkeypatch):
    monkeypatch.delenv('MMSEG_CASCADEPSP_DATA', raising=False)
    (tmp_path / 'train').mkdir()
    cfg = read_config('configs/cascadepsp_lite.py', data_root=str(tmp_path))
    use_own_folders(cfg, str(tmp_path))
    assert cfg.train_dataloader.dataset.data_root == f'{tmp_path}/train'
    assert cfg.val_dataloader.dataset.data_root == f'{tmp_path}/val'
