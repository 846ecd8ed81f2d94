import re

import pytest
import torch

from mmseg_cascadepsp.apis import (
    Refiner,
    build_model,
    convert_checkpoint,
    load_weights,
    read_state_dict,
)
from mmseg_cascadepsp.models.refiner.convert import (
    convert_release_state_dict,
    is_release_state_dict,
    rename_release_key,
)

BLOCK = {
    'conv.0': 'norm',
    'conv.2': 'conv',
    'conv.3': 'norm',
    'conv.5': 'conv',
    'conv2.0': 'norm',
    'conv2.2': 'conv',
    'conv2.3': 'norm',
    'conv2.5': 'conv',
}


def release_shapes():
    """Keys and shapes of the authors' checkpoint, as its network is described (paper, 3.1)."""
    shapes = {}

    def conv(name, out, into, side, bias):
        shapes[f'{name}.weight'] = (out, into, side, side)
        if bias:
            shapes[f'{name}.bias'] = (out,)

    def norm(name, width):
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{name}.{key}'] = (width,)
        shapes[f'{name}.num_batches_tracked'] = ()

    conv('feats.conv1', 64, 6, 7, False)
    norm('feats.bn1', 64)
    into = 64
    for stage, (blocks, width) in enumerate(
        zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), 1
    ):
        for block in range(blocks):
            name = f'feats.layer{stage}.{block}'
            sizes = ((width, into, 1), (width, width, 3), (4 * width, width, 1))
            for index, (out, channels, side) in enumerate(sizes, 1):
                conv(f'{name}.conv{index}', out, channels, side, False)
                norm(f'{name}.bn{index}', out)
            if block == 0:
                conv(f'{name}.downsample.0', 4 * width, into, 1, False)
                norm(f'{name}.downsample.1', 4 * width)
            into = 4 * width
    for index in range(4):
        conv(f'psp.stages.{index}.1', 2048, 2048, 1, False)
    conv('psp.bottleneck', 1024, 5 * 2048, 1, True)
    for index, (wide, skip, out) in enumerate(((1024, 256, 512), (512, 64, 256), (256, 3, 32)), 1):
        for part, kind in BLOCK.items():
            channels = wide + skip if part in ('conv.0', 'conv.2') else out
            if kind == 'norm':
                norm(f'up_{index}.{part}', channels)
            else:
                conv(f'up_{index}.{part}', out, channels, 3, True)
        conv(f'up_{index}.shortcut', out, wide, 1, True)
    for name, channels in (('final_28', 1024), ('final_56', 512)):
        conv(f'{name}.0', 32, channels, 1, True)
        conv(f'{name}.2', 1, 32, 1, True)
    conv('final_11', 32, 35, 1, True)
    conv('final_21', 1, 32, 1, True)
    return {f'module.{key}': shape for key, shape in shapes.items()}


@pytest.fixture(scope='module')
def theirs():
    """A state dict like the authors': one number per tensor, so that it is told where it lands."""
    return {
        key: torch.full((), float(index)).expand(shape)
        for index, (key, shape) in enumerate(release_shapes().items())
    }


@pytest.fixture(scope='module')
def r50():
    return build_model('r50')[0]


def test_the_release_has_the_size_that_it_has():
    count = sum(
        torch.Size(shape).numel()
        for key, shape in release_shapes().items()
        if not re.search('running|num_batches', key)
    )
    assert round(count / 1e6, 2) == 67.68


def test_every_tensor_of_the_release_has_its_place(theirs, r50):
    ours = convert_release_state_dict(theirs)
    own = r50.state_dict()
    assert set(ours) == set(own)
    assert all(ours[key].shape == own[key].shape for key in own)
    assert len({float(value.flatten()[0]) for value in ours.values()}) == len(theirs)
    for key, name in (
        ('feats.layer3.0.downsample.1.bias', 'backbone.layer3.0.downsample.1.bias'),
        ('psp.stages.3.1.weight', 'decode_head.psp.stages.3.weight'),
        ('up_3.conv2.5.bias', 'decode_head.ups.2.conv2.5.bias'),
        ('final_28.2.bias', 'decode_head.outputs.8.2.bias'),
        ('final_56.0.weight', 'decode_head.outputs.4.0.weight'),
        ('final_11.weight', 'decode_head.outputs.1.0.weight'),
        ('final_21.weight', 'decode_head.outputs.1.2.weight'),
    ):
        assert torch.equal(ours[name], theirs[f'module.{key}'])


def test_only_theirs_is_taken_for_theirs(theirs, r50):
    assert is_release_state_dict(theirs)
    assert is_release_state_dict({key.removeprefix('module.'): theirs[key] for key in theirs})
    assert not is_release_state_dict(r50.state_dict())
    assert rename_release_key('feats2.conv1.weight') is None
    with pytest.raises(ValueError, match='1 of 2 keys do not belong to it, first head.bias'):
        convert_release_state_dict(
            {'module.final_21.bias': theirs['module.final_21.bias'], 'head.bias': torch.zeros(1)}
        )


@pytest.mark.slow
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'pickle'])
def test_convert_and_refine_with_theirs(theirs, r50, tmp_path, zipped):
    source, target = tmp_path / 'model', tmp_path / 'folder' / 'ours.pth'
    torch.save(
        {key: value.clone() for key, value in theirs.items()},
        source,
        _use_new_zipfile_serialization=zipped,
    )
    convert_checkpoint(source, target)
    loaded = read_state_dict(target)
    load_weights(r50, loaded, target, 'r50')
    assert float(r50.state_dict()['decode_head.outputs.1.2.bias']) == len(theirs) - 1
    assert [path.name for path in target.parent.iterdir()] == ['ours.pth']
    direct = Refiner('r50', checkpoint=source, device='cpu').model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in direct.items())
