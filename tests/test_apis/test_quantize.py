"""int8 files give the results of the refiner they were made of, or are not written."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.apis import Refiner, calibration_photos, export_int8, quantize
from mmseg_cascadepsp.utils import read_mask, write_image, write_png

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
MASKS = Path(__file__).resolve().parents[2] / 'demo' / 'masks' / 'coarse'


@pytest.fixture(scope='module')
def lite():
    return Refiner('lite', device='cpu', precision='fp32')


@pytest.fixture(scope='module')
def samples():
    """Real photos, reduced, with masks: calibrated on, checked on, calibrated on, and new."""
    data = pytest.importorskip('skimage.data')
    coffee, astronaut, chelsea = (
        (np.ascontiguousarray(getattr(data, name)()[::2, ::2]),
         read_mask(MASKS / f'{name}.png')[::2, ::2])
        for name in ('coffee', 'astronaut', 'chelsea')
    )
    mirrored = tuple(np.ascontiguousarray(value[:, ::-1]) for value in coffee)
    return [coffee, mirrored, astronaut, chelsea]


@pytest.fixture(scope='module')
def exported(lite, samples, tmp_path_factory):
    """Path of the shipped refiner in int8, and what was measured."""
    path = tmp_path_factory.mktemp('int8') / 'lite_int8.onnx'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, 'SIDE', 224)
        return path, export_int8(lite, path, samples[:3])


@pytest.mark.slow
@pytest.mark.parametrize('fast', [True, False])
def test_results_on_a_new_photo_are_within_the_promise(lite, samples, exported, fast):
    image, mask = (torch.from_numpy(value.copy()) for value in samples[3])
    with torch.inference_mode():
        expected, found = (
            cascade.refine(
                model.refine_pass, image.permute(2, 0, 1), mask[None] > 127, fast=fast, L=200,
                normalize=model.normalize, strides=model.cascade_strides,
            )
            for model in (lite.model, Refiner(exported[0]).model)
        )
    assert (found != expected).any()
    # Two small photos calibrated it, and this is neither of those that were measured.
    assert ((found - expected).abs() <= 0.02).float().mean() >= 0.998
    found, expected = found > 0.5, expected > 0.5
    assert (found & expected).sum() / (found | expected).sum() >= 0.999


@pytest.mark.slow
def test_file_says_what_it_is(lite, exported):
    path, agreement = exported
    assert agreement.photos == 1
    assert 0.999 <= agreement.near < 1 and 0.999 <= agreement.iou <= 1
    refiner = Refiner(path)
    assert (refiner.name, refiner.strides) == ('lite', lite.strides)
    assert refiner.settings()['precision'] == refiner.model.precision == 'int8'
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(facts['agreement']) == dataclasses.asdict(agreement)
    assert facts.keys() >= {'name', 'strides', 'mean', 'std', 'mmseg_cascadepsp'}


@pytest.mark.slow
def test_only_the_upsampling_blocks_3x3_convolutions_are_int8(lite, exported):
    graph = onnx.load(exported[0]).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    quantised = set()
    for node in graph.node:
        weight = made_by.get(node.input[1]) if node.op_type == 'Conv' else None
        if weight is not None and weight.op_type == 'DequantizeLinear':
            assert types[weight.input[0]] == onnx.TensorProto.INT8
            assert made_by[node.input[0]].op_type == 'DequantizeLinear'
            quantised.add(weight.input[0].removesuffix('_quantized'))
    # Told by the modules, not by the names in the graph; norms may have been folded.
    blocks = lite.model.decode_head.ups.named_modules(prefix='decode_head.ups')
    assert quantised == {
        f'{name}.weight' for name, module in blocks
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
    }
    assert len(quantised) == 12
    others = [node for node in graph.node if node.op_type == 'DequantizeLinear']
    assert {types.get(node.input[0], onnx.TensorProto.UINT8) for node in others} == {
        onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32  # biases
    }


@pytest.mark.slow
def test_the_overviews_passes_calibrate_too(refiner, photo, mask, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, 'SIDE', 80)
    monkeypatch.setattr(cascade.passes, 'MIN_OVERVIEW', 40)
    recorded = []
    monkeypatch.setattr(
        quantize,
        '_quantize',
        lambda source, target, cascades, do=quantize._quantize: (
            recorded.extend(cascades) or do(source, target, cascades)
        ),
    )
    monkeypatch.setattr(quantize, 'LEAST_NEAR', 0.5)  # random weights
    monkeypatch.setattr(quantize, 'LEAST_IOU', 0.5)
    own = Refiner(refiner.model, precision='fp32', overview=0.5)
    export_int8(own, tmp_path / 'tiny.onnx', [(photo, mask)])
    (one,) = recorded
    sides = [max(image.shape[-2:]) for image, _ in one.passes]  # padded
    assert sides == [48] * 3 + [88] * 2
    expected = cascade.global_step(
        own._refine_pass, one.image, one.mask, L=80, normalize=own.model.normalize,
        strides=own.strides,
    )
    torch.testing.assert_close(one.probability, expected[1], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_network_that_int8_hurts_is_refused(refiner, photo, mask, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, 'SIDE', 80)
    model = copy.deepcopy(refiner.model)
    with torch.no_grad():  # one input channel's range leaves the others no steps
        conv = model.decode_head.ups[2].conv2[2]
        norm = model.decode_head.ups[2].conv2[0]
        norm.weight[0], norm.bias[0] = 0, 1e4
        conv.weight[:, 0] = 0
    with pytest.raises(RuntimeError, match=r'as int8: \d+\.\d+% .* mask IoU 0\.\d+, on 1 photo; '
                                           r'expected at least 99.8% and 0.999'):
        export_int8(Refiner(model), tmp_path / 'hurt.onnx', [(photo, mask)])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_papers_head_too(refiner, photo, mask, tmp_path, monkeypatch):
    """Its blocks are the same on another backbone; its widths do not matter here."""
    monkeypatch.setattr(quantize, 'SIDE', 80)
    seen = []
    monkeypatch.setattr(
        quantize,
        'convolutions',
        lambda graph, find=quantize.convolutions: seen.append(find(graph)) or seen[-1],
    )
    monkeypatch.setattr(quantize, 'LEAST_NEAR', 0.5)  # random weights
    monkeypatch.setattr(quantize, 'LEAST_IOU', 0.5)
    export_int8(refiner, tmp_path / 'tiny.onnx', [(photo, mask)])
    assert len(seen[0]) == 12
    assert Refiner(tmp_path / 'tiny.onnx').refine(photo, mask, L=80).shape == mask.shape


def test_a_network_without_such_convolutions():
    other = onnx.helper.make_graph([], 'other', [], [])
    assert quantize.convolutions(other) == []


def test_masks_without_a_boundary_are_no_photos(refiner, photo, mask, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, 'export_refiner', lambda *args: None)
    monkeypatch.setattr(quantize, 'OnnxRefiner', lambda path: None)
    empty = np.zeros_like(mask)
    for photos in ([], [(photo, empty), (photo, ~empty)]):
        with pytest.raises(ValueError, match='photos .* must be at least one .* got none'):
            export_int8(refiner, tmp_path / 'a.onnx', photos)
    with pytest.raises(ValueError, match='mask must have the size of the image, 70 x 101'):
        export_int8(refiner, tmp_path / 'a.onnx', [(photo, mask[1:])])
    with pytest.raises(ValueError, match=r'target of int8 must end with .onnx, got .*a.pt2'):
        export_int8(refiner, tmp_path / 'a.pt2', [(photo, mask)])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folders(photo, mask, tmp_path):
    """A set of seven photos; the ``i``-th has ``i`` in its first pixel."""
    for i in range(7):
        photo[0, 0] = i
        write_image(tmp_path / 'photos/images' / f'{i}.png', photo)
        for kind, value in (('masks', 0), ('coarse_net', 1)):  # of 0 and 1, as label maps are
            write_png(tmp_path / 'photos' / kind / f'{i}.png', mask.astype(np.uint8) * value)
    return tmp_path / 'photos'


@pytest.mark.parametrize(
    ('limit', 'expected'), [(20, range(7)), (7, range(7)), (3, (0, 2, 4)), (1, (0,))]
)
def test_photos_of_folders_are_evenly_spread(folders, mask, limit, expected):
    for given in ([folders], [folders / 'images', folders / 'coarse_net']):
        found = list(calibration_photos(given, limit))
        assert [image[0, 0, 0] for image, _ in found] == list(expected)
        assert all((coarse == mask).all() for _, coarse in found)


def test_folders_without_photos(folders, tmp_path):
    with pytest.raises(OSError, match='gone does not exist'):
        calibration_photos([tmp_path / 'gone'])
    with pytest.raises(OSError, match='No set lies in'):
        calibration_photos([folders / 'images'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(OSError, match='No coarse mask in .*empty has the name of a photo'):
        calibration_photos([folders / 'images', tmp_path / 'empty'])
    with pytest.raises(ValueError, match='one of photos and one of masks, got 3'):
        calibration_photos('abc')
    with pytest.raises(ValueError, match='limit of photos must be at least 1, got 0'):
        calibration_photos([folders], 0)
    write_png(folders / 'coarse_net' / '0.png', np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r'coarse_net/0.png: mask must have the size of'):
        next(calibration_photos([folders]))
