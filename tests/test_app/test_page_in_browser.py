"""The page in a real browser, with the network cut: what it shows, and that masks are the
refiner's to the bit.

``PAGE_PICTURES=docs/images`` writes the pictures of the documentation, with the shipped refiner.
"""

import os
import re
import threading
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('gradio')
pytest.importorskip('selenium')

from mmseg_cascadepsp.apis import Refiner  # noqa: E402
from mmseg_cascadepsp.app import work  # noqa: E402
from mmseg_cascadepsp.app.jobs import JobQueue  # noqa: E402
from mmseg_cascadepsp.app.layout import KEEP_ACCURATE  # noqa: E402
from mmseg_cascadepsp.app.page import mount_page  # noqa: E402
from mmseg_cascadepsp.app.server import create_app  # noqa: E402
from mmseg_cascadepsp.cascade import CascadeSettings, Network  # noqa: E402
from mmseg_cascadepsp.files.masks import read_labels  # noqa: E402
from mmseg_cascadepsp.files.samples import load_sample  # noqa: E402
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder  # noqa: E402

from . import test_load  # noqa: E402
from .browser import CHROMEDRIVER, CHROMIUM, Browser, Server, wait_for  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason='no chromium and chromedriver'),
]


class Gate(Network):
    """A network behind a gate, which counts the photos that it is shown."""

    def __init__(self, network):
        self.network = network
        self.strides, self.device, self.defaults = (
            network.strides,
            network.device,
            network.defaults,
        )
        self.state = {'photos': 0, 'open': threading.Event()}  # shared by copies
        self.state['open'].set()

    def normalize(self, image):
        return self.network.normalize(image)

    def for_image(self, image):
        self.state['photos'] += 1
        passes = self.network.for_image(image)

        def run(masks, strides):
            assert self.state['open'].wait(60)
            return passes(masks, strides)

        return run


def app_of(models, queue):
    return mount_page(create_app(models, queue), models, queue)


@pytest.fixture(scope='module')
def gate(refiner):
    return Gate(refiner.network)


@pytest.fixture(scope='module')
def server(gate):
    with JobQueue(4) as queue:
        server = Server(app_of({'tiny': Refiner(gate)}, queue))
        yield server
        server.stop()


@pytest.fixture
def browser(server, tmp_path):
    downloads = tmp_path / 'downloads'
    downloads.mkdir()
    browser = Browser(server.url, downloads)
    yield browser
    foreign = [
        address
        for address in browser.requests()
        if not address.startswith((server.url, 'data:', 'blob:', 'chrome:', 'about:'))
    ]
    browser.close()
    assert not foreign, 'the page asked for something elsewhere'


@pytest.fixture(scope='module')
def sample():
    pytest.importorskip('skimage')
    return load_sample('coffee', shipped_folder('demo') / 'masks')


@pytest.fixture
def files(sample, tmp_path):
    """Photo and mask on disk."""
    return write(tmp_path, image=sample.image), write(tmp_path, mask=sample.coarse)


def write(folder, **arrays):
    ((name, array),) = arrays.items()
    path = folder / f'{name}.png'
    Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path)
    return path


def give(browser, photo, mask=None):
    for place, shown, path in (('#photo', 'img', photo), ('#mask', 'a[href]', mask)):
        if path is None:
            continue
        name = Path(path).name
        shown = f'{place} {shown}[src*="{name}"], {place} {shown}[href*="{name}"]'
        browser.upload(place, path, partial(browser.all, shown))


def give_another(browser, mask):
    browser.click('#mask button[aria-label="Clear"]')
    give(browser, None, mask)


def pixels(path):
    return np.asarray(Image.open(path))


def test_a_photo_and_its_mask(browser, sample, files, refiner):
    give(browser, *files)
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()
    assert len(wait_for(lambda: browser.all('#slider img'))) == 2
    assert len(wait_for(lambda: browser.all('#zoom img'))) == 2
    expected = refiner.refine(sample.image, sample.coarse)
    assert 0 < np.mean(expected > 127) < 1
    mask = browser.download('mask')
    assert mask.name == 'image_mask.png'
    np.testing.assert_array_equal(pixels(mask), (expected > 127) * np.uint8(255))
    np.testing.assert_array_equal(pixels(browser.download('probability')), expected)
    cut_out = pixels(browser.download('cut-out'))
    np.testing.assert_array_equal(cut_out[..., :3], sample.image)
    np.testing.assert_array_equal(cut_out[..., 3] > 0, expected > 127)
    assert pixels(browser.download('overlay')).shape == sample.image.shape


def test_an_example_is_refined_with_two_clicks(browser, gate):
    browser.click('#examples button')
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()


def test_on_a_narrow_screen_the_result_comes_into_view(server, files, tmp_path):
    browser = Browser(server.url, tmp_path, (420, 900))
    give(browser, *files)
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()
    wait_for(
        lambda: browser.driver.execute_script(
            'const box = document.querySelector("#slider").getBoundingClientRect();'
            'return box.height > 200 && box.bottom < innerHeight + 2;'
        ),
        20,
    )
    browser.close()


def test_a_painted_mask_has_the_full_size_of_the_photo(browser, sample, tmp_path, refiner):
    photo = sample.image.repeat(2, axis=0).repeat(2, axis=1)  # the canvas holds a smaller one
    give(browser, write(tmp_path, image=photo))
    browser.click('#source label', 'paint')
    canvas = wait_for(lambda: browser.find('#editor canvas'))
    wait_for(lambda: '%' in browser.text('#editor'))
    paint(browser, canvas, [(-60, -40), (60, -40), (60, 40), (-60, 40), (-60, -40)])
    assert 'Refined' in browser.refine()
    mask = pixels(browser.download('mask'))
    assert mask.shape == photo.shape[:2]
    cut_out = browser.download('cut-out')
    assert pixels(cut_out).shape == (*photo.shape[:2], 4)


def paint(browser, canvas, corners):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.driver.execute_script('arguments[0].scrollIntoView({block: "center"})', canvas)
    actions = ActionChains(browser.driver)
    actions.move_to_element_with_offset(canvas, *corners[0]).click_and_hold()
    for (x, y), (to_x, to_y) in zip(corners, corners[1:], strict=False):
        actions.move_by_offset(to_x - x, to_y - y)
    actions.release().perform()


def test_a_wrong_pair_is_told_in_the_sentence_of_everywhere(browser, sample, files, tmp_path):
    small = write(tmp_path, small=sample.coarse[:200, :300])
    give(browser, files[0], small)
    sentence = (
        'mask small.png must have the size of the image image.png, 400 x 600 (H x W), got '
        '200 x 300; resize the mask to the image'
    )
    browser.wait_for_text('#note', sentence)
    assert 'tick "stretch it' in browser.text('#note')
    assert browser.refine().count(sentence) == 1
    assert browser.text('body').count(sentence) == 1
    give_another(browser, files[1])
    wait_for(lambda: browser.find('#understood img'))
    assert sentence not in browser.text('body')
    assert 'Refined' in browser.refine()


def test_a_smaller_mask_is_stretched_if_asked(browser, sample, files, tmp_path, refiner):
    small = write(tmp_path, small=sample.coarse[::2, ::2])
    give(browser, files[0], small)
    browser.wait_for_text('#note', 'must have the size')
    browser.click('#resize label')
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()
    mask = pixels(browser.download('mask'))
    assert mask.shape == sample.coarse.shape


def test_several_classes(browser, sample, files, tmp_path, refiner):
    labels = np.zeros(sample.coarse.shape, np.uint8)
    labels[sample.coarse] = 2
    labels[:80, :200] = 7
    labels[-20:] = 255
    give(browser, files[0], write(tmp_path, labels=labels))
    browser.click('#several label', 'several')
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()
    got = read_labels(browser.download('mask'))
    expected = refiner.refine_semantic(sample.image, labels.astype(np.int32))
    np.testing.assert_array_equal(got, expected)
    assert not browser.all('#get-cut-out')


class Widening(Network):
    """Finds objects wider than their masks."""

    defaults = CascadeSettings(L=224)

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        return lambda masks, strides: dict.fromkeys(
            strides, 9 * torch.nn.functional.max_pool2d(masks[:, :1], 9, 1, 4)
        )


def test_a_mask_that_is_right_stays_unless_told_otherwise(tmp_path):
    photo, mask = np.full((200, 300, 3), 40, np.uint8), np.zeros((200, 300), bool)
    mask[50:150, 60:240] = True
    photo[mask] = 200
    refiner = Refiner(Widening())
    with JobQueue(4) as queue:
        server = Server(app_of({'widening': refiner}, queue))
        browser = Browser(server.url, tmp_path)
        give(browser, write(tmp_path, image=photo), write(tmp_path, mask=mask))
        wait_for(lambda: browser.find('#understood img'))
        told = browser.refine()
        assert told.startswith("The mask stays as it was: its boundary lies on the photo's edges")
        assert KEEP_ACCURATE in told and 'keep_accurate' not in told and '--' not in told
        np.testing.assert_array_equal(pixels(browser.download('mask')) > 0, mask)
        browser.click('#settings button')
        browser.click('#keep_accurate label', KEEP_ACCURATE)
        assert browser.refine().startswith('Refined')
        (tmp_path / 'image_mask.png').unlink()
        expected = refiner.with_settings(keep_accurate=False).refine(photo, mask) > 127
        assert (expected != mask).any()
        np.testing.assert_array_equal(pixels(browser.download('mask')) > 0, expected)
        browser.close()
        server.stop()


def test_what_is_no_picture_is_told(browser, files, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(files[1].read_bytes()[:300])
    give(browser, files[0], broken)
    browser.wait_for_text('#note', 'broken.png cannot be read as an image')
    assert '/tmp' not in browser.text('#note')


def test_two_browsers_at_once(server, browser, sample, files, tmp_path, refiner):
    (tmp_path / 'other').mkdir()
    other = Browser(server.url, tmp_path / 'other')
    mirrored = sample.image[:, ::-1], sample.coarse[:, ::-1]
    give(browser, *files)
    give(other, write(tmp_path, other=mirrored[0]), write(tmp_path, coarse=mirrored[1]))
    for each in (browser, other):
        wait_for(lambda each=each: each.find('#understood img'))
        each.click('#refine')
    for each, pair in ((browser, (sample.image, sample.coarse)), (other, mirrored)):
        each.wait_for_text('#status', 'Refined')
        expected = refiner.refine(*map(np.ascontiguousarray, pair)) > 127
        np.testing.assert_array_equal(pixels(each.download('mask')) > 127, expected)
    other.close()


def test_the_server_is_started_again_under_an_open_page(gate, sample, files, tmp_path, refiner):
    with JobQueue(4) as queue:
        first = Server(app_of({'tiny': Refiner(gate)}, queue))
        browser = Browser(first.url, tmp_path)
        give(browser, *files)
        wait_for(lambda: browser.find('#understood img'))
        first.stop()
    with JobQueue(4) as queue:
        again = Server(app_of({'tiny': Refiner(gate)}, queue), port=first.port)
        assert 'no longer has image.png: choose photo and mask once more' in browser.refine()
        browser.open(again.url)
        give(browser, *files)
        wait_for(lambda: browser.find('#understood img'))
        assert 'Refined' in browser.refine()
        again.stop()
    browser.close()


def test_cancel_and_a_second_click(browser, files, gate):
    give(browser, *files)
    wait_for(lambda: browser.find('#understood img'))
    gate.state['photos'] = 0
    gate.state['open'].clear()
    try:
        browser.driver.execute_script(
            'const b = document.querySelector("#refine"); b.click(); b.click(); b.click();'
        )
        browser.wait_for_text('#status', 'Refining')
        assert not browser.find('#refine').is_enabled()
        browser.click('#cancel')
    finally:
        gate.state['open'].set()
    browser.wait_for_text('#status', 'Cancelled')
    assert gate.state['photos'] == 1, 'a second click started a second run'
    assert 'Refined' in browser.refine()


def test_a_proposed_mask(browser, tmp_path, refiner):
    cat = load_sample('chelsea', shipped_folder('demo') / 'masks')
    give(browser, write(tmp_path, cat=cat.image))
    browser.click('#source label', 'proposed')
    browser.click('#find')
    browser.wait_for_text('#thing', 'cat')
    wait_for(lambda: browser.find('#understood img'))
    assert 'Refined' in browser.refine()
    assert pixels(browser.download('mask')).shape == cat.true.shape


def test_a_photo_of_24_megapixels(sample, tmp_path, refiner, tiny_config, tiny_checkpoint):
    """By the command, in a process of its own."""
    photo = tmp_path / 'large.jpg'
    Image.fromarray(np.tile(sample.image, (10, 10, 1))).save(photo)
    mask = cv2.circle(np.zeros((4000, 6000), np.uint8), (3000, 2000), 550, 1, -1) > 0
    server = test_load.Server(
        *('--model', str(tiny_config), '--checkpoint', str(tiny_checkpoint)),
        *('--device', 'cpu', '--precision', 'fp32'),
    )
    browser = Browser(f'http://127.0.0.1:{server.port}/', tmp_path)
    give(browser, photo, write(tmp_path, mask=mask))
    wait_for(lambda: browser.find('#understood img'))
    browser.click('#settings button')  # smaller crops have less beside the boundary
    browser.write('#L input[type=number]', '300')
    told, before = set(), browser.text('#status')
    browser.click('#refine')
    wait_for(
        lambda: told.add(browser.text('#status')) or 'Refined' in browser.text('#status'), 500
    )
    steps = [re.search(r'(\d+) of (\d+)', text) for text in told - {before}]
    assert len({step[0] for step in steps if step}) >= 3
    wait_for(lambda: len(browser.all('#slider img')) == 2)
    sizes = browser.driver.execute_script(
        'return [...document.querySelectorAll("#slider img, #zoom img, #probability img")]'
        '.map(i => Math.max(i.naturalWidth, i.naturalHeight))'
    )
    assert max(sizes) <= work.SHOWN_SIDE
    expected = refiner.refine(photo, mask, L=300)
    np.testing.assert_array_equal(pixels(browser.download('mask')) > 127, expected > 127)
    assert expected.shape == mask.shape and 0 < (expected > 127).mean() < 1
    browser.close()
    print(f'peak {server.peak():.0f} MB')
    server.process.terminate()
    assert server.process.wait(30) == 143


@pytest.mark.skipif('PAGE_PICTURES' not in os.environ, reason='PAGE_PICTURES=FOLDER')
@pytest.mark.parametrize('size', [(1400, 1000), (420, 900)])
def test_pictures_of_the_page(size, tmp_path):
    name = 'page.png' if size[0] > 1000 else 'page_narrow.png'
    with JobQueue(4) as queue:
        server = Server(app_of({'lite': Refiner('lite')}, queue))
        browser = Browser(server.url, tmp_path, size)
        browser.click('#examples button')
        wait_for(lambda: browser.find('#understood img'))
        assert 'Refined' in browser.refine()
        browser.picture(tmp_path / name)
        browser.close()
        server.stop()
    picture = Image.open(tmp_path / name).convert('RGB').quantize(192)
    picture.save(Path(os.environ['PAGE_PICTURES'], name), optimize=True)
