"""Exported refiners give the results of the refiner that was exported."""

import copy
import json
import sys

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.apis import OnnxRefiner, Refiner
from mmseg_cascadepsp.cascade import GuidedFilter, Network
from mmseg_cascadepsp.models import RefinedSegmentor
from mmseg_cascadepsp.models.refiner import onnx as export
from tests.chaining import Scripted, red_disc

pytest.importorskip('onnxscript')
onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
SIZES = [(1, 8, 8), (1, 40, 72), (2, 56, 24), (1, 136, 104)]
STRIDES = [(8,), (8, 4), (4,), (1,), (8, 4, 1)]


@pytest.fixture(scope='module')
def tiny_onnx(refiner, tmp_path_factory):
    """Path of the tiny refiner as ONNX."""
    path = tmp_path_factory.mktemp('onnx') / 'tiny.onnx'
    refiner.export(path)
    return path


@pytest.fixture(scope='module')
def exported(tiny_onnx):
    return Refiner(tiny_onnx)


def inputs(batch, height, width):
    generator = torch.Generator().manual_seed(height)
    image, masks = torch.randn(2, batch, 3, height, width, generator=generator)
    return image, masks.tanh()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for stride, logits in expected.items():
        assert found[stride].shape == logits.shape
        torch.testing.assert_close(found[stride], logits, atol=1e-4, rtol=0)
        torch.testing.assert_close(found[stride].sigmoid(), logits.sigmoid(), atol=1e-5, rtol=0)


@pytest.mark.slow  # the export
@pytest.mark.parametrize('strides', STRIDES, ids=str)
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_passes_are_the_models(refiner, exported, size, strides):
    image, masks = inputs(*size)
    with torch.inference_mode():
        expected = refiner.network.model.refine_pass(image, masks, strides)
        image = image.to(memory_format=torch.channels_last)
        assert_same(exported.network.refine_pass(image, masks, strides), expected)


@pytest.mark.slow
def test_settings_of_the_refiner_go_along(refiner, tmp_path):
    """Not those of its model, which it may have been told to leave out."""
    model = copy.deepcopy(refiner.network.model)
    model.guided_filter, model.overview, model.tidy = GuidedFilter(), 0.5, True
    others = dict(L=300, keep_accurate=False, max_change=0.3, crops='adaptive')
    for settings in (dict(overview=None, guided_filter=False), dict(overview=0.25, **others)):
        own = Refiner(model, precision='fp32', **settings)
        own.export(tmp_path / 'own.onnx')
        exported = Refiner(tmp_path / 'own.onnx')
        assert exported.cascade == own.cascade
        assert exported.settings()['overview'] == str(settings['overview'])


@pytest.mark.slow
def test_shipped_refiner(tmp_path):
    lite = Refiner('lite', device='cpu', precision='fp32')
    lite.export(tmp_path / 'lite.onnx')
    exported = Refiner(tmp_path / 'lite.onnx')
    assert exported.name == 'lite'
    with torch.inference_mode():
        for size in ((1, 8, 24), (1, 200, 136), (2, 64, 104)):
            image, masks = inputs(*size)
            expected = lite.network.model.refine_pass(image, masks, (8, 4, 1))
            assert_same(exported.network.refine_pass(image, masks, (8, 4, 1)), expected)
    photo, mask = inputs(1, 64, 80)[0][0].permute(1, 2, 0).numpy(), np.zeros((64, 80), bool)
    photo, mask[20:50, 20:60] = (photo * 50 + 128).clip(0, 255).astype(np.uint8), True
    found, expected = (one.refine(photo, mask, L=80).astype(int) for one in (exported, lite))
    assert np.abs(found - expected).max() <= 1  # with the guided filter in the end
    for name in ('guided_filter', 'overview'):
        assert exported.settings()[name] == lite.settings()[name] != 'None'


@pytest.mark.slow
@pytest.mark.parametrize('fast', [True, False])
def test_refiner_gives_the_same_masks(refiner, exported, photo, mask, fast):
    assert exported.network.strides == refiner.network.strides
    expected = refiner.refine(photo, mask, fast=fast, L=80)
    assert 20 < expected.mean() < 235
    found = exported.refine(photo, mask, fast=fast, L=80)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_refine_semantic_gives_the_same_labels(refiner, exported, photo, mask):
    labels = mask.astype(np.uint8)
    expected = refiner.refine_semantic(photo, labels)
    assert (expected != labels).any()
    assert (exported.refine_semantic(photo, labels) == expected).mean() > 0.999


@pytest.mark.slow
def test_file_is_a_plain_graph_with_what_a_cascade_needs(refiner, tiny_onnx):
    session = onnxruntime.InferenceSession(tiny_onnx, providers=['CPUExecutionProvider'])
    assert [value.name for value in session.get_inputs()] == ['image', 'masks']
    facts = session.get_modelmeta().custom_metadata_map
    strides = json.loads(facts['strides'])
    assert facts['name'] == 'cascadepsp_tiny'
    image, masks = inputs(3, 24, 88)
    feeds = {'image': image.numpy(), 'masks': masks.numpy()}
    names = [f'logits_{stride}' for stride in strides]
    found = dict(zip(strides, map(torch.from_numpy, session.run(names, feeds)), strict=True))
    with torch.inference_mode():
        assert_same(found, refiner.network.model.refine_pass(image, masks, strides))
        photo = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
        mean, std = (torch.tensor(json.loads(facts[key])) for key in ('mean', 'std'))
        normalised = ((photo.movedim(1, -1) - mean) / std).movedim(-1, 1)
        torch.testing.assert_close(normalised, refiner.network.normalize(photo))
        torch.testing.assert_close(OnnxRefiner(tiny_onnx).normalize(photo), normalised)


@pytest.mark.slow
@pytest.mark.parametrize(('strides', 'runs'), [((8,), 1), ((8, 4), 2), ((4,), 2), ((1,), 3)])
def test_passes_run_no_further_than_needed(tiny_onnx, strides, runs, monkeypatch):
    run, seen = onnxruntime.InferenceSession.run_with_ort_values, []
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        'run_with_ort_values',
        lambda session, *args: seen.append(session) or run(session, *args),
    )
    assert OnnxRefiner(tiny_onnx).refine_pass(*inputs(1, 16, 16), strides).keys() == set(strides)
    assert len(seen) == len(set(seen)) == runs


@pytest.mark.slow
def test_it_stays_on_the_cpu_where_its_segmentor_is_moved(tiny_onnx):
    model = OnnxRefiner(tiny_onnx)
    photo = torch.full((1, 3, 16, 16), 90, dtype=torch.uint8)
    expected = model.normalize(photo)
    torch.nn.ModuleList([model]).to('meta')
    assert torch.equal(model.normalize(photo), expected)


@pytest.mark.slow
def test_no_weight_and_no_node_is_in_two_parts(tiny_onnx):
    model = onnx.load(tiny_onnx)
    parts = [
        onnx.load_model_from_string(part).graph
        for part in export._cut(model, ['logits_8', 'logits_4', 'logits_1'])
    ]
    made = [name for part in parts for node in part.node for name in node.output]
    assert len(made) == len(set(made))
    weights = [
        weight.name
        for part in parts
        for weight in part.initializer
        if np.prod(weight.dims) > 16  # not the constants
    ]
    assert len(weights) == len(set(weights)) > 30


@pytest.mark.slow
def test_tensors_tell_files_apart_and_copies_are_the_same(exported, tiny_onnx, tmp_path):
    for other in (copy.deepcopy(exported), Refiner(tiny_onnx)):
        assert other.settings() == exported.settings()
        image, masks = inputs(1, 16, 24)
        assert_same(
            other.network.refine_pass(image, masks, (1,)),
            exported.network.refine_pass(image, masks, (1,)),
        )
    model = onnx.load(tiny_onnx)
    weight = next(value for value in model.graph.initializer if len(value.dims) == 4)
    changed = onnx.numpy_helper.to_array(weight) + 1
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    onnx.save(model, tmp_path / 'other.onnx')
    assert Refiner(tmp_path / 'other.onnx').settings() != exported.settings()
    assert exported.settings()['precision'] == 'fp32'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kwargs', 'told'),
    [
        (dict(checkpoint='a.pth'), 'checkpoint must not be given .*a.pth'),
        (dict(device='cuda'), "device must be 'cpu' .* 'cuda'"),
        (dict(precision='bf16'), "precision must be 'auto' or 'fp32' .* 'bf16'"),
    ],
)
def test_settings_that_do_not_go_with_it(tiny_onnx, kwargs, told):
    with pytest.raises(ValueError, match=told):
        Refiner(tiny_onnx, **kwargs)


@pytest.mark.slow
def test_files_that_are_none(tiny_onnx, tmp_path):
    with pytest.raises(OSError, match='gone.onnx does not exist'):
        Refiner(tmp_path / 'gone.onnx')
    damaged = tmp_path / 'damaged.onnx'
    damaged.write_bytes(tiny_onnx.read_bytes()[:-1000])
    with pytest.raises(OSError, match='damaged.onnx .* is truncated, damaged or no ONNX'):
        Refiner(damaged)
    model = onnx.load(tiny_onnx)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'other.onnx')
    with pytest.raises(ValueError, match='other.onnx lacks name, strides, mean, std in'):
        Refiner(tmp_path / 'other.onnx')


@pytest.mark.slow
def test_graphs_that_are_not_the_model_are_not_written(refiner, tmp_path, monkeypatch):
    pool = export.PortableNetwork.__init__.__globals__['pool_by_products']
    monkeypatch.setitem(
        export.PortableNetwork.__init__.__globals__,
        'pool_by_products',
        lambda x, size: pool(x, size) + 1,
    )
    with pytest.raises(RuntimeError, match='the logits of stride 8 are off by'):
        refiner.export(tmp_path / 'wrong.onnx')
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(refiner, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r'target must end with .onnx, got .*a.trt'):
        refiner.export(tmp_path / 'a.trt')

    class Other(Network):
        def for_image(self, image): ...

        def normalize(self, image): ...

    with pytest.raises(TypeError, match='model Other cannot be exported: expected a CascadePSP'):
        Refiner(Other()).export(tmp_path / 'a.onnx')
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ImportError, match='onnxscript is not .*pip install onnx onnxruntime onnx'):
        refiner.export(tmp_path / 'a.onnx')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ImportError, match='onnx is not .*pip install onnx onnxruntime onnxscript'):
        Refiner(tmp_path / 'a.onnx')


@pytest.mark.slow
def test_an_exported_refiner_behind_a_segmentor(tiny_onnx, tiny_config, tiny_checkpoint):
    photo, _, coarse = red_disc()
    inputs = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None]
    options = dict(
        strategy=dict(type='semantic', background=0, L=128), classes=('no', 'yes', 'other')
    )
    labels = [
        RefinedSegmentor(Scripted(coarse * 1), refiner=given, **options, **own)
        .predict(inputs)[0]
        .pred_sem_seg.data
        for given, own in (
            (str(tiny_onnx), {}),
            (str(tiny_config), {'refiner_checkpoint': str(tiny_checkpoint)}),
        )
    ]
    assert (labels[0] == labels[1]).float().mean() > 0.999
    with pytest.raises(ValueError, match='checkpoint must not be given for an exported refiner'):
        RefinedSegmentor(Scripted(0), refiner=str(tiny_onnx), refiner_checkpoint='a.pth')


@pytest.mark.slow  # the export
def test_other_settings_do_not_read_the_file_again(tiny_onnx, tmp_path):
    path = tmp_path / 'moved.onnx'
    path.write_bytes(tiny_onnx.read_bytes())
    refiner = Refiner(path)
    path.unlink()
    other = refiner.with_settings(L=300)
    assert other.network._stages is refiner.network._stages
    assert (other.cascade.L, refiner.cascade.L) == (300, 900)
