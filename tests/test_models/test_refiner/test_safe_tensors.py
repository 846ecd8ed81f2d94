"""Weights as .safetensors: the same bits, and one sentence for what cannot be read."""

import json
import struct
import sys
from pathlib import Path

import pytest
import torch

import mmseg_cascadepsp
from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.apis import publish_checkpoint, read_state_dict
from mmseg_cascadepsp.errors import FileError, MissingPackageError

WEIGHTS = Path(mmseg_cascadepsp.__file__).parent / 'weights'
SHIPPED = WEIGHTS / 'cascadepsp_lite.safetensors'


def read_by_hand(path: Path) -> tuple[dict, dict]:
    """The format is a length, a header in JSON, and the bytes of all tensors."""
    content = path.read_bytes()
    (length,) = struct.unpack('<Q', content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    words = header.pop('__metadata__', {})
    return {
        key: (entry, body[slice(*entry['data_offsets'])]) for key, entry in header.items()
    }, words


def test_the_shipped_weights_are_the_same_bits():
    state_dict = torch.load(WEIGHTS / 'cascadepsp_lite.pth', weights_only=True)['state_dict']
    tensors, words = read_by_hand(SHIPPED)
    assert tensors.keys() == state_dict.keys()
    for key, (entry, content) in tensors.items():
        assert entry['dtype'] == 'F16' and entry['shape'] == list(state_dict[key].shape)
        assert content == state_dict[key].numpy().tobytes()
    assert json.loads(words['dataset_meta'])['classes'] == ['background', 'object']


def test_a_refiner_takes_them():
    given, own = Refiner('lite', checkpoint=SHIPPED), Refiner('lite')
    for left, right in zip(
        given.network.model.parameters(), own.network.model.parameters(), strict=True
    ):
        assert torch.equal(left, right)


@pytest.mark.parametrize('ending', ['.safetensors', '.pth'])
def test_published_back_and_forth(tmp_path, ending):
    publish_checkpoint(SHIPPED, tmp_path / f'copy{ending}')
    copy, state_dict = read_state_dict(tmp_path / f'copy{ending}'), read_state_dict(SHIPPED)
    assert copy.keys() == state_dict.keys()
    assert all(torch.equal(copy[key], value) for key, value in state_dict.items())
    publish_checkpoint(tmp_path / f'copy{ending}', tmp_path / 'again.safetensors')
    first, last = (read_by_hand(path)[1] for path in (SHIPPED, tmp_path / 'again.safetensors'))
    assert json.loads(first['dataset_meta']) == json.loads(last['dataset_meta'])


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: b'',
        lambda content: content[:5],
        lambda content: content[:5000],
        lambda content: content[:-1],
        lambda content: struct.pack('<Q', 1 << 62) + content[8:],
        lambda content: content[:8] + b'[' + content[9:],
        lambda content: b'\x80\x02' + content[2:],  # the beginning of a pickle
    ],
    ids=['empty', 'length cut', 'header cut', 'a byte lost', 'huge header', 'no JSON', 'pickle'],
)
def test_damaged_files_are_told(tmp_path, damage):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(damage(SHIPPED.read_bytes()))
    with pytest.raises(FileError, match=r'a\.safetensors \(\d+ bytes\) is truncated, damaged or'):
        Refiner('lite', checkpoint=path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({'weight': torch.tensor([float('nan')])}, tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match='not finite'):
        read_state_dict(tmp_path / 'a.safetensors')


def test_without_the_package_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(MissingPackageError, match='pip install safetensors'):
        read_state_dict(SHIPPED)
