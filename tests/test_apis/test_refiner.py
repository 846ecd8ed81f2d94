import concurrent.futures
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.apis import Refiner, build_model
from mmseg_cascadepsp.cascade import CascadeSettings, Network
from mmseg_cascadepsp.evaluation.functional import binary_iou
from mmseg_cascadepsp.files.masks import read_mask
from mmseg_cascadepsp.files.samples import load_sample
from mmseg_cascadepsp.models import CascadePSP
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder
from tests.rounding import assert_same_probability

TRUE_MASKS = Path(__file__).resolve().parents[2] / 'demo' / 'masks' / 'true'


class Recorder(Network):
    """A network that notes how it is called and answers with the first mask channel."""

    def __init__(self):
        self.images, self.states = [], []

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        self.images.append(image.clone())
        self.states.append(torch.is_grad_enabled())
        return lambda masks, strides: dict.fromkeys(strides, 5 * masks[:, :1])


@pytest.mark.parametrize('fast', [False, True])
def test_it_is_the_cascade_quantised_downwards(refiner, photo, mask, fast):
    result = refiner.refine(photo, mask, fast=fast, L=80)
    probability = cascade.refine(
        refiner.network,
        torch.from_numpy(photo).permute(2, 0, 1),
        torch.from_numpy(mask)[None],
        CascadeSettings(L=80, steps='global' if fast else 'both'),
    )
    assert result.dtype == np.uint8 and result.shape == mask.shape
    assert 0 < result.mean() < 255
    expected = np.floor(probability.numpy() * np.float32(255)).astype(np.uint8)
    assert_same_probability(result, expected)


def test_the_paper_refines_crops_of_large_photos_only(refiner, photo, mask):
    longer = max(mask.shape)
    for L, fast in ((longer, False), (longer + 1, True)):
        expected = refiner.refine(photo, mask, fast=fast, L=L)
        np.testing.assert_array_equal(refiner.refine(photo, mask, fast=None, L=L), expected)


@pytest.mark.parametrize(
    'cast',
    [
        lambda m: m,
        lambda m: m.astype(np.uint8),
        lambda m: m.astype(np.int64) * 255,
        lambda m: m * np.uint8(200),
        lambda m: np.where(m, 0.51, 0.5),
        lambda m: m.astype(np.float16),
        lambda m: m[..., None],
        lambda m: np.asfortranarray(m),
        lambda m: m[::-1][::-1],
    ],
    ids=['bool', '0/1', '0/255', '0/200', 'float', 'half', 'HxWx1', 'fortran', 'view'],
)
def test_masks_of_all_kinds_mean_the_same(refiner, photo, mask, cast):
    expected = refiner.refine(photo, mask, fast=True, L=80)
    np.testing.assert_array_equal(refiner.refine(photo, cast(mask), fast=True, L=80), expected)


@pytest.mark.parametrize('size', [(1, 1), (1, 90), (200, 3), (64, 61), (7, 7)])
@pytest.mark.parametrize('fast', [False, True])
def test_any_size(refiner, size, fast):
    photo = np.zeros((*size, 3), np.uint8)
    mask = np.zeros(size, bool)
    mask[: (size[0] + 1) // 2, : (size[1] + 1) // 2] = True
    assert refiner.refine(photo, mask, fast=fast, L=80).shape == size


def test_empty_and_full_masks_do_not_run_the_network(photo):
    network = Recorder()
    refiner = Refiner(network)
    for value in (False, True):
        for dtype in (bool, np.uint8, np.float32):
            result = refiner.refine(photo, np.full(photo.shape[:2], value, dtype))
            assert result.dtype == np.uint8 and (result == 255 * value).all()
    assert not network.images


def test_the_network_sees_rgb_and_no_gradients(mask):
    network = Recorder()
    photo = np.zeros((70, 101, 3), np.uint8)
    photo[:] = 10, 20, 30
    Refiner(network).refine(photo, mask, fast=True, L=101)
    assert network.images[0][0, :, 0, 0].tolist() == [10, 20, 30]
    assert not any(network.states)


def test_bf16_is_close_to_fp32(tiny_config, tiny_checkpoint, refiner, photo, mask):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # on processors without bf16 it is fp32, as it says
        low = Refiner(tiny_config, tiny_checkpoint, 'cpu', precision='bf16')
    difference = low.refine(photo, mask, L=80).astype(int) - refiner.refine(photo, mask, L=80)
    assert np.abs(difference).mean() < 8


def scope_name():
    return getattr(DefaultScope.get_current_instance(), 'scope_name', None)


def test_the_global_state_stays_and_threads_may_share(tiny_config, tiny_checkpoint, photo, mask):
    scope = scope_name()
    refiner = Refiner(tiny_config, tiny_checkpoint, 'cpu')
    state = torch.random.get_rng_state()
    expected = refiner.refine(photo, mask, L=80)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for result in pool.map(lambda _: refiner.refine(photo, mask, L=80), range(6)):
            np.testing.assert_array_equal(result, expected)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert scope_name() == scope


def test_arguments_are_left_alone(refiner, photo, mask):
    before = photo.copy(), mask.copy()
    photo.flags.writeable = mask.flags.writeable = False
    refiner.refine(photo, mask, L=80)
    np.testing.assert_array_equal(photo, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_a_config_object_and_a_module_do_as_well(
    tiny_config, tiny_checkpoint, refiner, photo, mask
):
    expected = refiner.refine(photo, mask, fast=True, L=80)
    cfg = Config.fromfile(tiny_config)
    module = Refiner(cfg, tiny_checkpoint, 'cpu', 'fp32').network.model
    assert isinstance(module, CascadePSP) and not module.training
    for model, checkpoint in ((cfg.model, tiny_checkpoint), (module, None)):
        result = Refiner(model, checkpoint, 'cpu', 'fp32').refine(photo, mask, fast=True, L=80)
        np.testing.assert_array_equal(result, expected)


def test_progress_counts_crops(tiny_config, tiny_checkpoint, photo, mask, capsys):
    shown = Refiner(tiny_config, tiny_checkpoint, 'cpu', progress=True)
    shown.refine(photo, mask, L=80)
    assert 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize(
    ('change', 'error', 'words'),
    [
        ({'image': np.zeros((70, 101, 2))}, ValueError, r'image .*RGB.*\(70, 101, 2\)'),
        ({'image': np.zeros((70, 101, 3), complex)}, TypeError, 'image .*uint8.*complex'),
        ({'image': np.zeros((0, 101, 3), np.uint8)}, ValueError, 'image .*at least one pixel'),
        ({'image': [[0]]}, TypeError, 'image .*numpy.*list'),
        ({'mask': np.zeros((70, 100), bool)}, ValueError, 'mask .*70 x 101.*70 x 100'),
        ({'mask': np.zeros((101, 70), bool)}, ValueError, 'turned by 90 degrees'),
        ({'mask': np.zeros((70, 101, 3), bool)}, ValueError, r'mask .*\(70, 101, 3\)'),
        ({'mask': np.full((70, 101), np.nan)}, ValueError, 'mask .*nan'),
        ({'mask': np.full((70, 101), np.inf)}, ValueError, 'mask .*inf'),
        ({'mask': np.full((70, 101), 1.5)}, ValueError, 'mask .*1.5.*would be empty'),
        ({'mask': np.full((70, 101), 256)}, ValueError, 'mask .*holds 256, as a label map'),
        ({'mask': np.full((70, 101), 2**64 - 1, np.uint64)}, ValueError, 'mask holds values from'),
        ({'mask': np.full((70, 101), -1)}, ValueError, 'mask .*-1'),
        ({'mask': np.zeros((70, 101), complex)}, TypeError, 'mask .*complex'),
        ({'mask': None}, ValueError, 'no transparent part that could be its mask'),
        ({'L': 65}, ValueError, 'L .*66.*65'),
        ({'L': 99.5}, TypeError, 'L .*integer.*99.5'),
    ],
)
def test_bad_input(refiner, photo, mask, change, error, words):
    with pytest.raises(error, match=words):
        refiner.refine(**{'image': photo, 'mask': mask, **change})


@pytest.mark.parametrize(
    ('arguments', 'error', 'words'),
    [
        ({'model': 'heavy'}, ValueError, "'lite', 'r50'.*'heavy'"),
        ({'model': 'no_such.py', 'checkpoint': 'x.pth'}, OSError, 'no_such.py does not exist'),
        ({'model': 3}, TypeError, 'model .*int'),
        ({'model': nn.Conv2d(3, 1, 1)}, TypeError, 'Conv2d'),
        ({'model': Config({'data': 1}), 'checkpoint': 'x'}, ValueError, 'no model with a type'),
        ({'precision': 'int8'}, ValueError, "precision .*'bf16'.*'int8'"),
        ({'crops': 'some'}, ValueError, "crops must be one of 'uniform', 'adaptive', got 'some'"),
        (
            {'crops': 'adaptive', 'crop_filter': 'release'},
            ValueError,
            "crop_filter must be 'boundary', got 'release'",
        ),
        (
            {'crop_filter': 'none'},
            ValueError,
            "crop_filter .*'boundary', 'release', 'all'.*'none'",
        ),
        ({'model': 'lite', 'device': 'abacus'}, ValueError, "device 'abacus' cannot be used"),
        ({'device': 'cpu'}, ValueError, 'checkpoint and device are those of the Recorder given'),
    ],
)
def test_bad_construction(arguments, error, words):
    with pytest.raises(error, match=words):
        Refiner(**{'model': Recorder(), **arguments})


def test_a_config_needs_weights(tiny_config):
    with pytest.raises(ValueError, match='checkpoint must be given for .*cascadepsp_tiny.py'):
        Refiner(tiny_config)


def test_settings_tell_weights_apart(tiny_config, tiny_checkpoint, refiner):
    same = Refiner(tiny_config, tiny_checkpoint, 'cpu', 'fp32')
    assert refiner.settings() == same.settings()
    elsewhere = os.path.relpath(tiny_config)  # the same config, spelled in another way
    assert Refiner(elsewhere, tiny_checkpoint).settings()['model'] == refiner.settings()['model']
    other = Refiner(build_model(tiny_config)[0]).settings()
    assert other['weights'] != refiner.settings()['weights']
    assert refiner.settings()['precision'] == 'fp32'
    assert refiner.with_settings(L=500).settings()['L'] == '500'


@pytest.mark.parametrize('fast', [True, False])
def test_the_guided_filter_finishes_what_the_cascade_gives(refiner, photo, mask, fast):
    """By default as the config says; L is the photo's longer side, so that nothing is resized."""
    guided = refiner.with_settings(guided_filter=True)
    plain = refiner.with_settings(guided_filter=False)
    expected = refiner.refine(photo, mask, fast=fast, L=101)
    np.testing.assert_array_equal(plain.refine(photo, mask, fast=fast, L=101), expected)
    found = guided.refine(photo, mask, fast=fast, L=101)
    with torch.inference_mode():
        image = refiner.network.normalize(torch.from_numpy(photo).permute(2, 0, 1)[None])
        value = torch.from_numpy(expected)[None, None].float() / 255
        filtered = cascade.GuidedFilter()(image, value)[0, 0].numpy()
    assert np.abs(found - 255 * filtered).max() < 4  # expected was rounded down
    assert np.abs(found.astype(int) - expected).max() > 20
    settings = [one.settings()['guided_filter'] for one in (refiner, plain, guided)]
    assert settings[0] == settings[1] == 'None' != settings[2]


def test_the_overview_is_a_setting(
    tiny_config, tiny_checkpoint, refiner, photo, mask, monkeypatch
):
    """By default as the config says, which may say nothing; none where it would be tiny."""
    cfg = Config.fromfile(tiny_config)
    cfg.model.overview = 0.5
    configured = Refiner(cfg, tiny_checkpoint, device='cpu', precision='fp32')
    found = refiner.with_settings(overview=0.5)
    plain = configured.with_settings(overview=0)
    expected = found.refine(photo, mask, L=80)
    np.testing.assert_array_equal(configured.refine(photo, mask, L=80), expected)
    without = plain.refine(photo, mask, L=80)
    np.testing.assert_array_equal(expected, without)
    monkeypatch.setattr(cascade.steps, 'MIN_OVERVIEW', 1)
    expected = found.refine(photo, mask, L=80)
    assert (expected != without).any()
    np.testing.assert_array_equal(configured.refine(photo, mask, L=80), expected)
    np.testing.assert_array_equal(plain.refine(photo, mask, L=80), without)
    overviews = [one.settings()['overview'] for one in (refiner, plain, found, configured)]
    assert overviews == ['None', 'None', '0.5', '0.5']
    with pytest.raises(ValueError, match='overview must be from 0 to 1, got 1.5'):
        refiner.with_settings(overview=1.5)
    with pytest.raises(TypeError, match="overview must be a number, got '0.5'"):
        refiner.with_settings(overview='0.5')


@pytest.mark.slow
def test_the_overview_fills_what_a_mask_lacks():
    """On a photo, with the shipped weights: a fifth of the cup is missing in its middle."""
    photo = pytest.importorskip('skimage.data').coffee()
    true = read_mask(TRUE_MASKS / 'coffee.png') > 127
    rows, columns = np.nonzero(true)
    down, along = np.ogrid[: len(true), : len(true[0])]
    distance = np.hypot(down - np.median(rows), along - np.median(columns))
    coarse = true & (distance > np.sqrt(0.2 * true.sum() / np.pi))
    refiner = Refiner(keep_accurate=False)  # the outline is right elsewhere
    iou = {}
    for share in (0.5, 0):
        found = refiner.with_settings(overview=share).refine(photo, coarse, fast=True)
        iou[share] = binary_iou(found > 127, true)
    assert binary_iou(coarse, true) < 0.81 and iou[0.5] > iou[0] + 0.03, iou


def test_a_config_may_have_a_guided_filter(tiny_config, tiny_checkpoint, refiner, photo, mask):
    cfg = Config.fromfile(tiny_config)
    cfg.model.guided_filter = dict(radius=0.05, eps=0.1)
    found = Refiner(cfg, tiny_checkpoint, device='cpu', precision='fp32')
    own = cascade.GuidedFilter(radius=0.05, eps=0.1)
    same = refiner.with_settings(guided_filter=own)
    expected = same.refine(photo, mask, L=80)
    np.testing.assert_array_equal(found.refine(photo, mask, L=80), expected)
    # A test of MMEngine's runner gives the same.
    inputs = torch.cat(
        (
            found.network.normalize(torch.from_numpy(photo).permute(2, 0, 1)[None]),
            torch.from_numpy(mask)[None, None] * 2.0 - 1,
        ),
        dim=1,
    )
    found.network.model.test_cfg = dict(L=80)
    with torch.inference_mode():
        (sample,) = found.network.model.predict(inputs)
    probability = sample.seg_logits.data[0].numpy() * 255
    assert np.abs(probability - expected).max() <= 1.01


def test_one_mask_gives_the_same_through_every_door(refiner, photo, mask):
    """Paths through the settings, through the call, and through another refiner."""
    expected = refiner.refine(photo, mask, fast=True, L=80)
    same = refiner.with_settings(steps='global', L=80)
    np.testing.assert_array_equal(same.refine(photo, mask), expected)
    assert (refiner.cascade.L, same.cascade.L) == (900, 80)
    assert "steps='global'" in repr(same) and 'L=80' in repr(same)


def test_compat_is_the_authors_package(refiner):
    own = refiner.with_settings(guided_filter=True, overview=0.5).with_settings(compat='release')
    assert own.cascade == CascadeSettings(steps='both', crop_filter='release', compat='release')


def test_a_setting_that_is_none_is_told(refiner):
    with pytest.raises(TypeError, match='there is no setting max_memory; a cascade has L, steps'):
        Refiner(Recorder(), max_memory='2GB')
    with pytest.raises(TypeError, match='there is no setting l;'):
        refiner.with_settings(l=80)


class Eraser(Recorder):
    """A network that finds nothing."""

    def for_image(self, image):
        super().for_image(image)
        return lambda masks, strides: dict.fromkeys(strides, -9 + 0 * masks[:, :1])


def test_an_object_is_never_lost_altogether(photo, mask):
    with pytest.warns(UserWarning, match=r'lose an object of \d+ pixels altogether'):
        result = Refiner(Eraser(), L=101).refine(photo, mask)
    np.testing.assert_array_equal(result, mask * np.uint8(255))
    assert Refiner(Eraser(), L=101, compat='release').refine(photo, mask).max() < 127


@pytest.mark.slow
def test_small_objects_of_large_photos_survive():
    """A disc of 24 pixels in 1500 x 1100, with the shipped weights."""
    y, x = np.ogrid[:1100, :1500]
    disc, coarse = (np.hypot(y - 500, x - c) < 12 for c in (700, 702))
    photo = np.full((1100, 1500, 3), (60, 90, 70), np.uint8)
    photo[disc] = 220, 60, 40
    photo += np.random.default_rng(0).integers(0, 12, photo.shape).astype(np.uint8)
    refined = Refiner('lite', precision='fp32').refine(photo, coarse) > 127
    assert binary_iou(refined, disc) > max(binary_iou(coarse, disc), 0.9)


def test_a_name_may_come_as_a_path():
    assert Refiner(Path('lite')).name == 'lite'


def test_the_report_tells_the_change_and_what_was_kept(refiner, photo, mask):
    result = refiner.refine(photo, mask)
    again, report = refiner.refine(photo, mask, return_report=True)
    new = result > 127
    assert (again == result).all() and report.kept == ''
    iou = (new & mask).sum() / (new | mask).sum()
    assert report.change.iou == pytest.approx(iou)
    sure = np.abs(result[new != mask] / 127.5 - 1).mean()
    assert report.change.sureness == pytest.approx(sure)
    limit = (1 - iou) / 2
    bounded = refiner.with_settings(max_change=limit)
    with pytest.warns(UserWarning, match='more than max_change=.*the mask stays as it was'):
        assert (bounded.refine(photo, mask) == mask * 255).all()
    kept, report = bounded.refine(photo, mask, return_report=True)
    assert (kept == mask * 255).all() and report.change.iou == pytest.approx(iou)
    free = refiner.with_settings(max_change=1 - iou + 1e-6)
    assert (free.refine(photo, mask) == result).all()
    empty, report = refiner.refine(photo, mask & False, return_report=True)
    assert not empty.any() and report.change.iou == 1


def test_a_refined_mask_has_no_specks(monkeypatch):
    photo, mask = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96), bool)
    mask[20:80, 20:80] = True
    says = mask * 0.9 + 0.05
    says[3, 3], says[50, 22] = 0.8, 0.3
    monkeypatch.setattr(
        'mmseg_cascadepsp.cascade.refine', lambda *_: torch.from_numpy(says).float()
    )
    for tidy in (True, False):
        refiner = Refiner('lite').with_settings(tidy=tidy)
        found = refiner.refine(photo, mask)
        assert ((found > 127) == (mask if tidy else says > 0.5)).all()
    report = refiner.with_settings(tidy=True).refine(photo, mask, return_report=True)[1]
    assert report.change.iou == 1 and report.change.parts == (1, 1)


def test_what_stays_is_judged_by_the_threshold(monkeypatch):
    photo, mask = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96), bool)
    mask[20:80, 20:80] = True
    says = mask * 0.6 + 0.1
    says[3, 3] = says[50, 50] = 0.35  # a speck for 0.3, a hole for 0.5
    monkeypatch.setattr(
        'mmseg_cascadepsp.cascade.refine', lambda *_: torch.from_numpy(says).float()
    )
    refiner = Refiner('lite', tidy=True, keep_accurate=False)
    assert ((refiner.refine(photo, mask, threshold=0.3) > 255 * 0.3) == mask).all()
    assert (refiner.refine(photo, mask, threshold=0.05) > 255 * 0.05).all()
    for settings, reason in (({}, 'altogether'), ({'max_change': 0.5}, 'altogether')):
        own = refiner.with_settings(**settings)
        with pytest.warns(UserWarning, match=reason):
            assert (own.refine(photo, mask, threshold=0.8) == mask * 255).all()
    with pytest.warns(UserWarning, match='it would change by 0.609'):
        own.refine(photo, mask, threshold=0.05)
    report = refiner.refine(photo, mask, return_report=True, threshold=0.05)[1]
    assert report.change.iou == pytest.approx(mask.mean())
    for wrong in (1, -0.1, True, '0.5'):
        with pytest.raises((ValueError, TypeError), match='threshold must be .*, got'):
            refiner.refine(photo, mask, threshold=wrong)


@pytest.mark.parametrize('side, left, stays', [(9, 6, True), (9, 8, False), (12, 6, False)])
def test_most_of_a_tiny_object_is_not_lost_either(monkeypatch, side, left, stays):
    photo, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), bool)
    mask[10 : 10 + side, 10 : 10 + side] = True
    says = np.zeros((40, 40), np.float32)
    says[10 : 10 + left, 10 : 10 + left] = 1
    monkeypatch.setattr('mmseg_cascadepsp.cascade.refine', lambda *_: torch.from_numpy(says))
    refiner = Refiner('lite', tidy=False, keep_accurate=False)
    found, report = refiner.refine(photo, mask, return_report=True)
    assert report.kept == (
        f'the refiner would leave {left**2} of {side**2} pixels of an object' if stays else ''
    )
    assert np.count_nonzero(found) == (side if stays else left) ** 2


def test_what_the_release_has_not_is_refused():
    with pytest.raises(ValueError, match="compat='release' .*max_change must be None, got 0.2"):
        Refiner('lite', compat='release', max_change=0.2)
    with pytest.raises(ValueError, match='make a new Refiner'):
        Refiner('lite', compat='release').with_settings(compat=None)
    assert Refiner('lite', compat='release').with_settings(L=300).cascade.compat == 'release'


def test_an_accurate_mask_stays_as_it_was():
    photo = load_sample('coffee', shipped_folder('demo') / 'masks')
    refiner = Refiner('lite', L=300)
    with pytest.warns(UserWarning, match="lies on the photo's edges already"):
        assert (refiner.refine(photo.image, photo.true) == photo.true * 255).all()
    with pytest.warns(UserWarning, match='^mask 2 of 2: its boundary lies'):
        refiner.refine(photo.image, [photo.coarse, photo.true])
    kept = refiner.refine(photo.image, photo.true, return_report=True)[1].kept
    assert 'keep_accurate=False' in kept
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for settings in ({'keep_accurate': False}, {'compat': 'release'}):
            redrawn = refiner.with_settings(**settings).refine(photo.image, photo.true)
            assert ((redrawn > 127) != photo.true).any()
        coarse = refiner.refine(photo.image, photo.coarse)
    again, report = refiner.refine(photo.image, coarse > 127, return_report=True)
    assert report.kept and ((again > 127) == (coarse > 127)).all()  # a second run does no harm
