"""What is computed faster is the same function."""

import copy
import functools
import os
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmseg_cascadepsp.cascade import run_cascade
from mmseg_cascadepsp.models.refiner import inference, winograd
from mmseg_cascadepsp.models.refiner.inference import CascadeNetwork, FastNetwork
from mmseg_cascadepsp.models.refiner.winograd import WinogradConv2d
from tests.test_models.test_refiner.test_network import build

TINY = 'tests/data/cascadepsp_tiny.py'


def resnet():
    torch.manual_seed(0)
    return MODELS.build(Config.fromfile(TINY).model)


@pytest.fixture(params=['efficientnet', 'resnet'])
def model(request):
    """In double precision and evaluation mode, with norms that are no identities and outputs that
    vary.
    """
    model = build() if request.param == 'efficientnet' else resnet()
    for value in model.parameters():
        if value.ndim == 4:
            nn.init.kaiming_normal_(value)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    model.double().eval()
    image, mask = tensors()
    with torch.no_grad():  # the spread of logits where they decide
        outputs = model.refine_pass(image, mask.expand(-1, 3, -1, -1), (8, 4, 1))
        for stride, logits in outputs.items():
            last = model.decode_head.outputs[str(stride)][-1]
            last.weight /= logits.std()
            last.bias -= logits.mean() / logits.std()
    return model


def passes_of(network, image, mask, strides=(8, 4, 1)):
    """All passes of a cascade, of a network or of a model's own passes."""
    if isinstance(network, CascadeNetwork):
        return run_cascade(network.for_image(image), mask, strides)
    return run_cascade(functools.partial(network, image), mask, strides)


def tensors(height=40, width=72, batch=1):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, 3, height, width, generator=generator)
    mask = torch.rand(batch, 1, height, width, generator=generator) * 2 - 1
    return image.double(), mask.double()


def assert_same(passes, expected, atol=1e-5):
    for ours, theirs in zip(passes, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for stride in ours:
            a, b = ours[stride].sigmoid(), theirs[stride].sigmoid().float()
            assert b.std() > 1e-3
            torch.testing.assert_close(a, b, atol=atol, rtol=0)


@pytest.mark.parametrize('strides', [(8, 4, 1), (8, 1)])
@pytest.mark.parametrize('wide', [4, 10**6], ids=['winograd', 'direct'])
def test_passes_are_the_models(model, strides, wide, monkeypatch):
    monkeypatch.setattr(winograd, 'MIN_CHANNELS', wide)
    monkeypatch.setattr(winograd, 'MIN_TILES', 1)
    image, mask = tensors(batch=2)
    with torch.inference_mode():
        run = CascadeNetwork(model)
        network = run.prepare(image.device)
        kinds = {type(module) for module in network.modules()}
        assert (WinogradConv2d in kinds) == (wide == 4)
        assert_same(
            passes_of(run, image, mask, strides),
            passes_of(model.refine_pass, image, mask, strides),
        )


def test_only_norms_that_follow_no_convolution_stay(model):
    network = FastNetwork(model)
    left = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    # The stem's, and the first of either branch of each of the three blocks.
    assert len(left) == 1 + 2 * 3
    assert all(name.startswith(('backbone.stem', 'backbone.bn1', 'decode_head')) for name in left)


def test_the_model_stays_as_it_is(model):
    before = copy.deepcopy(model.state_dict())
    image, mask = tensors()
    with torch.inference_mode():
        passes_of(CascadeNetwork(model), image, mask)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert model.decode_head.psp.bottleneck.weight is (
        FastNetwork(model).decode_head.psp.bottleneck.weight
    )


def test_the_image_goes_through_the_stem_once_for_all_passes(model):
    image, mask = tensors()
    calls = {'image': 0, 'mask': 0}
    with torch.inference_mode():
        run = CascadeNetwork(model)
        network = run.prepare(image.device)
        for name in calls:
            stem = getattr(network, f'{name}_stem')
            stem.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
        passes_of(run, image, mask)
    assert calls == {'image': 1, 'mask': 3}


@pytest.mark.parametrize(
    'change',
    [
        lambda model: model.decode_head.outputs['1'][-1].bias.add_(1),
        lambda model: model.load_state_dict(
            {key: value * 1.01 for key, value in model.state_dict().items()}
        ),
        lambda model: setattr(
            model.decode_head.outputs['1'][-1], 'bias', nn.Parameter(torch.ones(1).double())
        ),
        lambda model: model.float(),
    ],
    ids=['in place', 'loaded', 'another', 'dtype'],
)
def test_changed_weights_are_followed(model, change):
    image, mask = tensors()
    run = CascadeNetwork(model)
    with torch.no_grad():
        first = run.prepare(image.device)
        assert run.prepare(image.device) is first
        change(model)
        assert run.prepare(image.device) is not first
        dtype = next(model.parameters()).dtype
        image, mask = image.to(dtype), mask.to(dtype)
        passes = passes_of(run, image, mask)
        assert_same(passes, passes_of(model.refine_pass, image, mask), atol=1e-3)


def test_training_that_leaves_no_trace_in_the_tensors_is_followed(model):
    image, mask = tensors()
    run = CascadeNetwork(model)
    with torch.no_grad():
        first = run.prepare(image.device)
        model.train()
        bias = model.decode_head.outputs['1'][-1].bias
        version = bias._version
        bias.data.add_(1)  # as MMEngine's EMA and fused optimisers do
        assert bias._version == version
        model.eval()
        assert run.prepare(image.device) is not first
        passes = passes_of(run, image, mask)
        assert_same(passes, passes_of(model.refine_pass, image, mask), atol=1e-3)


def test_a_model_in_training_refines_as_in_evaluation_and_keeps_its_statistics(model):
    image, mask = tensors()
    run = CascadeNetwork(model)
    with torch.no_grad():
        expected = passes_of(run, image, mask)
        state = {key: value.clone() for key, value in model.state_dict().items()}
        model.train()
        model.backbone.eval()  # as with norm_eval
        modes = [module.training for module in model.modules()]
        assert_same(passes_of(run, image, mask), expected, atol=1e-3)
    assert [module.training for module in model.modules()] == modes
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_gradients_and_training_go_through_the_model_itself(model):
    image, mask = tensors()
    run = CascadeNetwork(model)
    logits = run.for_image(image)(mask.expand(-1, 3, -1, -1), (8,))[8]
    logits.sum().backward()
    assert model.decode_head.outputs['8'][-1].bias.grad is not None
    model.train()
    with torch.no_grad():
        assert run.prepare(image.device) is None


def test_it_can_be_copied_and_pickled(model):
    run = CascadeNetwork(model)
    image, mask = tensors()
    with torch.inference_mode():
        expected = passes_of(run, image, mask)
        for other in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
            assert_same(passes_of(other, image, mask), expected)


@pytest.mark.parametrize(
    ('precision', 'fast', 'backbone', 'head'),
    [
        ('fp32', True, torch.float32, torch.float32),
        ('bf16', True, torch.bfloat16, torch.bfloat16),
        ('auto', True, torch.float32, torch.bfloat16),
        ('auto', False, torch.float32, torch.float32),
    ],
)
def test_precision_of_the_parts(model, precision, fast, backbone, head, monkeypatch):
    monkeypatch.setattr(inference, 'has_fast_bf16', lambda device: fast)
    monkeypatch.setattr(winograd, 'MIN_CHANNELS', 4)
    image, mask = tensors()
    model.float()
    run = CascadeNetwork(model, precision)
    seen = {}

    def note(name):
        return lambda module, inputs, output: seen.update({name: output.dtype})

    with torch.inference_mode():
        network = run.prepare(image.device)
        network.mask_stem.register_forward_hook(note('stem'))
        network.decode_head.psp.register_forward_hook(note('pyramid'))
        network.decode_head.outputs['1'].register_forward_hook(note('output'))
        passes = passes_of(run, image.float(), mask.float())
    assert seen == dict(stem=backbone, pyramid=head, output=head)
    assert all(value.dtype == torch.float32 for logits in passes for value in logits.values())
    parts = {
        name.split('.')[0]
        for name, module in network.named_modules()
        if isinstance(module, WinogradConv2d)
    }
    # Where it is computed in float32, and no more.
    assert ('decode_head' in parts) == (head == torch.float32)
    assert 'backbone' not in parts or backbone == torch.float32


def test_bf16_is_left_out_where_it_would_be_slow(model, monkeypatch):
    monkeypatch.setattr(inference, 'has_fast_bf16', lambda device: False)
    image, mask = tensors()
    image, mask = image.float(), mask.float()
    model.float()
    network = CascadeNetwork(model, 'bf16')
    with pytest.warns(UserWarning, match="about ten times as long .*'fp32' is used"):
        passes = passes_of(network, image, mask)
    assert_same(passes, passes_of(CascadeNetwork(model, 'fp32'), image, mask))
    assert network.dtype(torch.device('cpu')) is None
    assert network.describe()['precision'] == 'fp32'
    with pytest.warns(UserWarning, match="'fp16' is for GPUs"):
        CascadeNetwork(model, 'fp16').for_image(image)
    with pytest.raises(ValueError, match="precision must be one of 'fp32', .*, got 'int8'"):
        CascadeNetwork(model, 'int8')


def test_precision_is_that_of_the_device_that_a_model_is_moved_to(model, monkeypatch):
    monkeypatch.setattr(inference, 'has_fast_bf16', lambda device: device.type == 'cuda')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        networks = {name: CascadeNetwork(model, name) for name in ('bf16', 'fp16', 'auto')}
    found = {name: network.dtype(torch.device('cuda')) for name, network in networks.items()}
    assert found == dict(bf16=torch.bfloat16, fp16=torch.float16, auto=torch.bfloat16)


def test_networks_with_other_defaults_share_what_was_made(model):
    network = CascadeNetwork(model)
    other = network.with_defaults(network.defaults.replace(L=100))
    with torch.inference_mode():
        assert other.prepare(torch.device('cpu')) is network.prepare(torch.device('cpu'))
    assert (other.defaults.L, network.defaults.L) == (100, 900)


@pytest.mark.parametrize('dilation', [1, 2, 4])
@pytest.mark.parametrize('size', [(16, 24), (13, 7), (1, 5)])
@pytest.mark.parametrize('strip', [1, 60, 10**6], ids=lambda strip: f'strip{strip}')
def test_winograd_is_the_convolution(dilation, size, strip, monkeypatch):
    monkeypatch.setattr(winograd, 'MIN_TILES', 0)
    monkeypatch.setattr(winograd, 'STRIP', strip)
    torch.manual_seed(0)
    for batch, bias in ((1, True), (3, False)):
        conv = nn.Conv2d(5, 4, 3, padding=dilation, dilation=dilation, bias=bias)
        x = torch.randn(batch, 5, *size)
        with torch.inference_mode():
            exact = F.conv2d(
                x.double(),
                conv.weight.double(),
                conv.bias.double() if bias else None,
                padding=dilation,
                dilation=dilation,
            ).float()
            out = WinogradConv2d(conv)(x)
        assert out.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(out, exact, atol=2e-6, rtol=0)


def test_small_maps_are_convolved_directly(monkeypatch):
    conv = nn.Conv2d(4, 4, 3, padding=1)
    monkeypatch.setattr(WinogradConv2d, '_convolve', None)
    x = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        assert torch.equal(WinogradConv2d(conv)(x), conv(x))


@pytest.mark.parametrize(
    ('change', 'pays'),
    [
        ({}, True),
        (dict(padding=2, dilation=2), True),
        (dict(in_channels=128), False),
        (dict(kernel_size=1, padding=0), False),
        (dict(stride=2), False),
        (dict(padding=0), False),
        (dict(groups=2), False),
        (dict(padding_mode='reflect'), False),
    ],
)
def test_which_convolutions_pay(change, pays):
    kwargs = dict(in_channels=256, out_channels=256, kernel_size=3, padding=1)
    assert WinogradConv2d.pays(nn.Conv2d(**{**kwargs, **change})) is pays
    assert not WinogradConv2d.pays(nn.Linear(256, 256))


def test_bfloat16_is_found_by_what_the_processor_has(monkeypatch):
    cpu = torch.device('cpu')
    for amx, avx in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda avx=avx: avx)
        assert inference.has_fast_bf16(cpu) is (amx or avx)
    assert not inference.has_fast_bf16(torch.device('meta'))


FORKED = """
import os, signal, sys
import numpy as np, torch
torch.set_num_threads(2)
from mmseg_cascadepsp import Refiner

image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
mask[20:40, 20:40] = True
made = Refiner('lite', L=224)
if not os.fork():
    signal.alarm(60)  # a child that hangs ends
    for again in (lambda: made.refine(image, mask), lambda: Refiner('lite')):
        try:
            again()
        except RuntimeError as error:
            print(error)
    torch.set_num_threads(1)
    print(made.refine(image, mask).shape, flush=True)
    os._exit(0)
print(os.wait()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='a system without fork')
def test_a_child_that_would_wait_for_threads_of_its_parent_is_told():
    env = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    command = [sys.executable, '-W', 'ignore', '-c', FORKED]
    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300).stdout
    assert said.count('this process was forked from one in which a refiner had been made') == 2
    assert said.splitlines()[-2:] == ['(64, 64)', '0']
