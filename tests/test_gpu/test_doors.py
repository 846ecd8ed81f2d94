"""What doors give on a GPU against the CPU. GPU_TESTS_ON=cpu runs the same bodies without one."""

import concurrent.futures
import contextlib
import os

import numpy as np
import pytest
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.annotations import refine_annotations
from mmseg_cascadepsp.apis import build_model, refine_files
from mmseg_cascadepsp.errors import DeviceMemoryError
from mmseg_cascadepsp.files import read_image, write_image, write_png
from mmseg_cascadepsp.models import RefinedSegmentor
from tests.chaining import CLASSES, Scripted, labels_of, sample_of
from tests.training import tiny_config as training_config
from tests.training import train, write_data

DEVICE = os.environ.get('GPU_TESTS_ON', 'cuda')
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == 'cuda' and not torch.cuda.is_available(), reason='there is no CUDA device'
    ),
]


@pytest.fixture
def there(tiny_config, tiny_checkpoint, monkeypatch):
    """Makes the tiny refiner on the device, in plain float32."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    return lambda precision: Refiner(tiny_config, tiny_checkpoint, DEVICE, precision)


@pytest.fixture
def labels(mask):
    """Three classes, one of them a corner."""
    labels = mask.astype(np.int64)
    labels[40:, 70:] = 2
    return labels


def assert_nearly(found, expected, bound=1):
    """99 % of the values within ``bound``."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert (np.abs(found.astype(int) - expected) <= bound).mean() > 0.99


@contextlib.contextmanager
def peak_memory():
    """Bytes that a block takes on the GPU beyond what was there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, found = torch.cuda.memory_allocated(), []
    yield found
    torch.cuda.synchronize()
    found.append(torch.cuda.max_memory_allocated() - before)


cuda_alone = pytest.mark.skipif(DEVICE != 'cuda', reason='a property of CUDA')


@pytest.mark.parametrize('precision, bound', [('fp32', 1), ('auto', 6), ('bf16', 12), ('fp16', 6)])
@pytest.mark.parametrize('fast', [True, False])
def test_probabilities_of_a_mask(refiner, there, photo, mask, precision, bound, fast):
    expected = refiner.refine(photo, mask, fast=fast, L=96)
    found = there(precision).refine(photo, mask, fast=fast, L=96)
    assert_nearly(found, expected, bound)


def test_a_pass_in_float32(refiner, there):
    """Logits within 1e-4 of their range."""
    torch.manual_seed(0)
    image, masks = torch.randn(1, 3, 96, 96), torch.rand(1, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        expected = refiner.network.for_image(image)(masks, (1,))[1]
        network = there('fp32').network
        found = network.for_image(image.to(DEVICE))(masks.to(DEVICE), (1,))[1].cpu()
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize('strategy', ['scene', 'semantic', 'binary'])
def test_label_maps(refiner, there, photo, mask, labels, strategy):
    given = mask.astype(np.int64) if strategy == 'binary' else labels
    expected = refiner.refine_semantic(photo, given, strategy)
    assert (there('fp32').refine_semantic(photo, given, strategy) == expected).mean() > 0.99


@pytest.mark.parametrize('strategy', ['scene', 'semantic'])
def test_a_chain(refiner, photo, labels, strategy, tiny_config, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    found = []
    for device in ('cpu', DEVICE):
        model = RefinedSegmentor(
            Scripted(torch.from_numpy(labels).to(device)),
            refiner=str(tiny_config),
            refiner_checkpoint=str(tiny_checkpoint),
            strategy=dict(type=strategy, L=96),
            classes=CLASSES,
            precision='fp32',
        )
        inputs = torch.from_numpy(photo[..., ::-1].copy()).permute(2, 0, 1)
        data = dict(inputs=[inputs], data_samples=[sample_of(photo.shape[:2])])
        [sample] = model.eval().to(device).test_step(data)
        found.append(labels_of(sample.cpu()))
    assert (found[0] == found[1]).mean() > 0.99
    assert (found[0] != labels).any()


def test_a_folder(refiner, there, photo, mask, tmp_path):
    for name in ('a', 'b'):
        write_image(tmp_path / 'photos' / f'{name}.png', photo)
        write_png(tmp_path / 'masks' / f'{name}.png', mask.astype(np.uint8) * 255)
    for one, folder in ((refiner, 'here'), (there('fp32'), 'there')):
        report = refine_files(
            one.with_settings(L=96), tmp_path / 'photos', tmp_path / 'masks', tmp_path / folder
        )
        assert len(report.refined) == 2, report
    for name in ('a', 'b'):
        here, found = (read_image(tmp_path / d / f'{name}.png') for d in ('here', 'there'))
        assert here.any() and (here == found).mean() > 0.99


def test_a_set_of_annotations(refiner, there, tmp_path):
    pytest.importorskip('pycocotools')
    pytest.importorskip('shapely')
    from tests.test_annotations.sets import coco

    (path, photos), found = coco(tmp_path), []
    for number, one in enumerate((refiner, there('fp32'))):
        report = refine_annotations(
            one.with_settings(L=96),
            path,
            images=photos,
            out=tmp_path / f'{number}.json',
        )
        assert not report.failed, report
        found.append(report.objects)
    for here, other in zip(*found, strict=True):
        assert (here.key, here.status) == (other.key, other.status)
        assert here.iou is None or abs(here.iou - other.iou) < 0.02
    assert any(one.iou is not None for one in found[0])


@pytest.mark.parametrize('batch_size', [2, 8])
def test_batches(refiner, there, photo, mask, batch_size):
    expected = refiner.refine(photo, mask, fast=False, L=66)
    one = there('fp32').with_settings(batch_size=batch_size)
    assert_nearly(one.refine(photo, mask, fast=False, L=66), expected)


@cuda_alone
def test_memory_of_batches(there):
    """A batch of n crops takes no more than n times the memory of one."""
    photo, mask = picture(1200, 1600)
    peaks = {}
    for size in (1, 2, 4):
        one = there('fp32').with_settings(batch_size=size)
        one.refine(photo, mask, fast=False, L=400)
        with peak_memory() as found:
            one.refine(photo, mask, fast=False, L=400)
        [peaks[size]] = found
    assert peaks[2] <= 2.1 * peaks[1] and peaks[4] <= 4.2 * peaks[1], peaks


def picture(height, width):
    """A disc on noise, and the disc moved."""
    rows, columns = np.ogrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 3) ** 2
    noise = np.random.default_rng(2).integers(0, 90, (height, width, 3), np.uint8)
    return noise + disc[..., None].astype(np.uint8) * 150, np.roll(disc, 12, axis=1)


@cuda_alone
@pytest.mark.parametrize('L, paper', [(900, 3.16), (500, 1.16)])
def test_memory_of_r50(L, paper):
    """Random weights: memory does not look at them. The paper's figures are in GB."""
    photo, mask = picture(L, L)
    one = Refiner(build_model('r50')[0].to(DEVICE), precision='fp32', overview=None)
    with peak_memory() as found:
        one.refine(photo, mask, fast=True, L=L)
    assert found[0] + torch.cuda.memory_allocated() <= 1.1e9 * paper


@pytest.mark.parametrize('allowed, bound', [(False, 1), (True, 6)])
def test_tf32(refiner, there, photo, mask, monkeypatch, allowed, bound):
    one = there('fp32')
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', allowed)
    assert_nearly(one.refine(photo, mask, L=96), refiner.refine(photo, mask, L=96), bound)


@cuda_alone
def test_a_compiled_network(refiner, there):
    torch.manual_seed(0)
    image, masks = torch.randn(1, 3, 96, 96), torch.rand(1, 3, 96, 96) * 2 - 1
    model = there('fp32').network.model
    compiled = torch.compile(model.refine_pass)
    with torch.no_grad():
        expected = refiner.network.for_image(image)(masks, (1,))[1]
        found = compiled(image.to(DEVICE), masks.to(DEVICE), (1,))[1].cpu()
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)


def test_channels_last(refiner, there):
    torch.manual_seed(0)
    image, masks = torch.randn(2, 3, 96, 72), torch.rand(2, 3, 96, 72) * 2 - 1
    network = there('fp32').network
    last = image.to(DEVICE, memory_format=torch.channels_last)
    with torch.no_grad():
        expected = refiner.network.for_image(image)(masks, (1,))[1]
        found = network.for_image(last)(masks.to(DEVICE), (1,))[1].cpu()
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)


def test_threads_with_streams_of_their_own(there, photo, mask):
    one = there('fp32')
    expected = one.refine(photo, mask, L=96)

    def in_a_stream(_):
        stream = torch.cuda.Stream() if DEVICE == 'cuda' else None
        with torch.cuda.stream(stream):  # of None: nothing
            return one.refine(photo, mask, L=96)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for found in pool.map(in_a_stream, range(6)):
            assert_nearly(found, expected)


@cuda_alone
def test_too_little_memory_says_what_fits(there):
    """With the allocator held to 400 MB."""
    photo, mask = picture(3000, 3000)
    one, L = there('fp32'), 3000
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(400e6 / total)
    try:
        with pytest.raises(DeviceMemoryError, match='L=3000 needs more memory than cuda'):
            one.refine(photo, mask, fast=True, L=L)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.slow
def test_training_and_a_resume(tmp_path):
    """Two iterations with automatic mixed precision, then a third that goes on from them."""
    data = write_data(tmp_path / 'data', val=1)
    amp = dict(type='AmpOptimWrapper') if DEVICE == 'cuda' else dict(type='BFloat16OptimWrapper')
    for iterations, resume in ((2, False), (3, True)):
        config = training_config(data, tmp_path / 'run', **{
            'optim_wrapper.type': amp['type'],
            'max_iters': iterations,
            'train_cfg.max_iters': iterations,
            'train_cfg.val_interval': 9,
            'default_hooks.checkpoint.interval': 1,
            'custom_hooks': [dict(type='RecordHook')],
            'resume': resume,
        })  # fmt: skip
        assert train(config) == [0]
        losses = torch.load(tmp_path / 'run' / 'losses_0.pt', weights_only=True)
        assert len(losses) == (1 if resume else 2) and np.isfinite(losses).all()
    state = torch.load(tmp_path / 'run/iter_3.pth', map_location='cpu', weights_only=True)
    assert all(value.isfinite().all() for value in state['state_dict'].values())


@pytest.mark.slow  # the export
def test_onnx(refiner, photo, mask, tmp_path, monkeypatch):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    provider = 'CUDAExecutionProvider' if DEVICE == 'cuda' else 'CPUExecutionProvider'
    if provider not in runtime.get_available_providers():
        pytest.skip(f'onnxruntime has no {provider}')
    refiner.export(tmp_path / 'tiny.onnx')
    session = runtime.InferenceSession

    def there(part, options, providers):
        return session(part, options, providers=[provider, 'CPUExecutionProvider'])

    monkeypatch.setattr(runtime, 'InferenceSession', there)
    found = Refiner(tmp_path / 'tiny.onnx').refine(photo, mask, L=96)
    assert_nearly(found, refiner.refine(photo, mask, L=96))
