import hashlib
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmseg_cascadepsp.apis import (
    Refiner,
    convert_checkpoint,
    load_weights,
    publish_checkpoint,
    read_state_dict,
)
from mmseg_cascadepsp.engine import package_weights
from mmseg_cascadepsp.errors import FileError, MissingFileError
from mmseg_cascadepsp.models.refiner.checkpoint import SHIPPED, WEIGHTS, check_file


@pytest.fixture
def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state, 'meta': {'epoch': 1}, 'optimizer': {'lr': 0.1}},
        lambda state: {'model': state},
        lambda state: {f'module.{key}': value for key, value in state.items()},
        lambda state: {
            key: value.half() if value.is_floating_point() else value
            for key, value in state.items()
        },
        lambda state: {key: value for key, value in state.items() if 'tracked' not in key},
    ],
    ids=['bare', 'mmengine', 'model', 'parallel', 'half', 'old torch'],
)
def test_checkpoints_of_all_kinds(small, tmp_path, wrap):
    state = small.state_dict()
    torch.save(wrap(state), tmp_path / 'a.pth')
    fresh = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    load_weights(fresh, read_state_dict(tmp_path / 'a.pth'), 'a.pth', 'small')
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(value, state[key], atol=1e-3, rtol=1e-3)
        assert value.dtype == state[key].dtype


def test_what_does_not_fit_is_told_and_nothing_is_loaded(small):
    state = small.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    wrong = {key: value + 1 for key, value in state.items() if key != '1.weight'}
    wrong['0.bias'] = torch.zeros(5)
    wrong.update({f'extra{index}': torch.zeros(1) for index in range(4)})
    with pytest.raises(ValueError) as told:
        load_weights(small, wrong, 'wrong.pth', 'small')
    for words in (
        'wrong.pth does not fit the model',
        '1 missing (1.weight)',
        '4 unexpected (extra0',
        ', ...)',
        '1 of another shape (0.bias (5,) for (4,))',
    ):
        assert words in str(told.value)
    assert all(torch.equal(value, before[key]) for key, value in small.state_dict().items())


class Trap:
    """What a hostile pickle holds."""

    def __reduce__(self):
        return pytest.fail, ('code of a checkpoint ran',)


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'pickle'])
def test_code_in_a_checkpoint_is_not_run(tmp_path, zipped):
    torch.save({'state_dict': Trap()}, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(OSError, match='a.pth .*more than weights'):
        read_state_dict(tmp_path / 'a.pth')


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'pickle'])
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.95])
def test_truncated_checkpoints(small, tmp_path, zipped, share):
    path = tmp_path / 'a.pth'
    torch.save(small.state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(OSError, match=r'checkpoint .*a.pth \(\d+ bytes\) is'):
        read_state_dict(path)


@pytest.mark.parametrize(
    ('content', 'error', 'words'),
    [
        (b'<html>404: Not Found</html>', OSError, 'damaged'),
        ({'state_dict': {}}, ValueError, 'holds no weights'),
        ({'epoch': 3}, ValueError, 'holds no weights'),
        ([1, 2], ValueError, 'holds no weights'),
        (
            {'a': torch.tensor([1.0, float('nan')]), 'b': torch.ones(1)},
            ValueError,
            'not finite in 1 of 2 tensors, first a',
        ),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, error, words):
    path = tmp_path / 'a.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(error, match=words):
        read_state_dict(path)


def test_missing_checkpoints(tmp_path):
    with pytest.raises(OSError, match='nothing.pth does not exist'):
        read_state_dict(tmp_path / 'nothing.pth')
    with pytest.raises(OSError, match='is a folder'):
        read_state_dict(tmp_path)


def test_a_failed_conversion_leaves_the_old_file(small, tmp_path):
    torch.save(small.state_dict(), tmp_path / 'source.pth')
    (tmp_path / 'target.pth').write_bytes(b'old')
    with pytest.raises(ValueError, match="source.pth does not fit the model 'r50'"):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'target.pth')
    assert (tmp_path / 'target.pth').read_bytes() == b'old'
    assert len(list(tmp_path.iterdir())) == 2


def test_published_weights_are_small_and_load(small, tmp_path):
    classes = {'classes': ('background', 'cat')}
    training = {
        'meta': {'dataset_meta': classes, 'cfg': 'long', 'seed': 3},
        'state_dict': small.state_dict(),
        'optimizer': {'lr': 0.1},
    }
    torch.save(training, tmp_path / 'iter_1.pth')
    publish_checkpoint(tmp_path / 'iter_1.pth', tmp_path / 'out.pth')
    published = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert set(published) == {'meta', 'state_dict'}
    assert published['meta']['dataset_meta'] == classes  # MMSeg's init_model reads them there
    assert 'cfg' not in published['meta']
    assert {value.dtype for value in published['state_dict'].values()} == {torch.float16}
    fresh = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    load_weights(fresh, read_state_dict(tmp_path / 'out.pth'), 'out.pth', 'small')
    torch.testing.assert_close(fresh[0].weight, small[0].weight, atol=1e-3, rtol=1e-3)


def test_a_training_checkpoint_is_never_the_target(small, tmp_path):
    """A forgotten target makes the last checkpoint one."""
    training = {'meta': {}, 'state_dict': small.state_dict(), 'optimizer': {'lr': 0.1}}
    for name in ('iter_1.pth', 'iter_2.pth'):
        torch.save(training, tmp_path / name)
    before = (tmp_path / 'iter_2.pth').read_bytes()
    with pytest.raises(ValueError, match='iter_2.pth is a training checkpoint, whose optimizer'):
        publish_checkpoint([tmp_path / 'iter_1.pth'], tmp_path / 'iter_2.pth')
    assert (tmp_path / 'iter_2.pth').read_bytes() == before
    with pytest.raises(ValueError, match='source must be at least one checkpoint'):
        publish_checkpoint([], tmp_path / 'out.pth')
    torch.save(torch.zeros(2), tmp_path / 'out.pth')  # neither is what is no checkpoint at all
    for _ in range(2):  # older published files make room
        publish_checkpoint(tmp_path / 'iter_1.pth', tmp_path / 'out.pth')


def test_weights_too_large_for_fp16_are_not_published(small, tmp_path):
    state = dict(small.state_dict(), **{'1.running_var': torch.full((4,), 1e6)})
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='1.running_var is too large for fp16'):
        publish_checkpoint(tmp_path / 'a.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_of_several_checkpoints_the_mean_is_published(small, tmp_path):
    first = {key: value.clone() for key, value in small.state_dict().items()}
    second = {key: value + 3 for key, value in first.items()}
    meta = {'dataset_meta': {'classes': ('cat',)}}
    torch.save({'meta': meta, 'state_dict': first}, tmp_path / 'a.pth')
    torch.save({'state_dict': second}, tmp_path / 'b.pth')
    publish_checkpoint([tmp_path / 'a.pth', tmp_path / 'b.pth'], tmp_path / 'out.pth')
    published = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert published['meta']['source'] == 'a.pth, b.pth'
    assert published['meta']['dataset_meta'] == meta['dataset_meta']
    for key, value in published['state_dict'].items():
        torch.testing.assert_close(value.float(), first[key] + 1.5, atol=2e-3, rtol=1e-3)
    # What was published is mixed with another checkpoint in turn.
    publish_checkpoint([tmp_path / 'out.pth', tmp_path / 'b.pth'], tmp_path / 'again.pth')
    again = torch.load(tmp_path / 'again.pth', weights_only=True)['state_dict']
    assert again.keys() == published['state_dict'].keys()
    for key, value in again.items():
        torch.testing.assert_close(value.float(), first[key] + 2.25, atol=4e-3, rtol=1e-3)


def test_checkpoints_of_different_networks_have_no_mean(small, tmp_path):
    torch.save(small.state_dict(), tmp_path / 'a.pth')
    others = ('0', nn.Conv2d(3, 5, 1)), ('9', nn.Conv2d(3, 4, 1))  # another shape, another name
    for prefix, other in others:
        state = {f'{prefix}.{key}': value for key, value in other.state_dict().items()}
        torch.save(dict(small.state_dict(), **state), tmp_path / 'b.pth')
        expected = 'b.pth is of another network than .*a.pth: 2 tensors'
        with pytest.raises(ValueError, match=expected):
            publish_checkpoint([tmp_path / 'a.pth', tmp_path / 'b.pth'], tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_flipped_bits_of_the_shipped_weights_are_found(tmp_path):
    """PyTorch loads them without a word."""
    content = (WEIGHTS / 'cascadepsp_lite.pth').read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / 'flipped.pth'
    places = [
        (200_001, 6),
        *((int(rng.integers(len(content))), rng.integers(8)) for _ in range(8)),
    ]
    for place, bit in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(bit)
        path.write_bytes(damaged)
        with pytest.raises(FileError, match='flipped.pth .*damaged'):
            read_state_dict(path)


def test_the_digests_of_shipped_weights(monkeypatch):
    files = {path.name for path in WEIGHTS.iterdir() if path.suffix in ('.pth', '.safetensors')}
    assert files == set(SHIPPED)
    for name in files:
        check_file(WEIGHTS / name)
    monkeypatch.setitem(SHIPPED, 'cascadepsp_lite.pth', '0' * 64)
    with pytest.raises(FileError, match='SHA-256 begins with bd15a9fe, .*install the package'):
        Refiner('lite')


@pytest.mark.parametrize('right', [True, False])
def test_the_digest_in_a_name(small, tmp_path, right):
    torch.save(small.state_dict(), tmp_path / 'a.pth')
    digest = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()[:8]
    if not right:
        digest = '0123abcd'
    path = (tmp_path / 'a.pth').rename(tmp_path / f'small_r50-d8-{digest}.pth')
    with nullcontext() if right else pytest.raises(FileError, match='expected 0123abcd; delete'):
        read_state_dict(path)


@pytest.mark.parametrize('right', [True, False])
def test_what_mmengine_fetches_is_checked(tmp_path, monkeypatch, right):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.save({'state_dict': {'weight': torch.ones(2)}}, tmp_path / 'a.pth')
    digest = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()[:8]
    name = f'fcn-{digest if right else "0123abcd"}.pth'
    content = (tmp_path / 'a.pth').read_bytes()
    cached = tmp_path / 'cache' / 'hub' / 'checkpoints' / name

    def fetched(url, path):
        assert url == f'https://example.com/{name}'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(package_weights, 'download', fetched)
    for _ in range(2):  # from the web, and from the cache
        if right:
            found = load_checkpoint(nn.Module(), f'https://example.com/{name}')
            assert found['state_dict']['weight'].tolist() == [1, 1]
        else:
            with pytest.raises(FileError, match='expected 0123abcd'):
                load_checkpoint(nn.Module(), f'https://example.com/{name}')
        assert cached.is_file()


def test_an_empty_name_is_no_checkpoint():
    with pytest.raises(MissingFileError, match="checkpoint is '', which names no file"):
        Refiner('lite', checkpoint='')


def test_tensors_without_values_are_refused(tmp_path):
    torch.save({'weight': torch.ones(1, device='meta')}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='sparse, quantized or empty tensors, first weight'):
        read_state_dict(tmp_path / 'a.pth')
