"""What the page says and does, without a browser."""

import asyncio
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio')

from mmseg_cascadepsp.apis import Refiner  # noqa: E402
from mmseg_cascadepsp.app import work  # noqa: E402
from mmseg_cascadepsp.app.jobs import JobQueue  # noqa: E402
from mmseg_cascadepsp.app.layout import UPLOAD, Form  # noqa: E402
from mmseg_cascadepsp.app.limits import Limits  # noqa: E402
from mmseg_cascadepsp.app.page import Page, sentence_of  # noqa: E402
from mmseg_cascadepsp.errors import UserError  # noqa: E402

from .test_jobs import Counting  # noqa: E402

SETTINGS = ['counting', -1, 100, True, 'auto', 224, 'scene']


@pytest.fixture(scope='module')
def page():
    with JobQueue(2, threads=1) as queue:
        yield Page({'counting': Refiner(Counting())}, queue, Limits())


@pytest.fixture
def files(tmp_path):
    """Photo and mask on disk."""
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:50] = 255
    return write(tmp_path, 'photo', mask // 2 + 64), write(tmp_path, 'mask', mask)


def write(folder, name, pixels, **options):
    path = folder / f'{name}.png'
    Image.fromarray(pixels).save(path, **options)
    return path


def outcome(page, photo, mask, settings=SETTINGS):
    """What is left on the page after a press of the button: part -> text or value."""
    form = Form(str(photo), UPLOAD, str(mask), False, False, '', None, True, None, None)

    async def press():
        request = SimpleNamespace(session_hash='a')
        return [shown async for shown in page.run(request, *form, *settings)]

    shown = {}
    for changes in asyncio.run(press()):
        shown |= {part: value for part, value in changes.items() if value is not None}
    parts = page.parts
    assert shown[parts.refine].value == 'Refine' and shown[parts.refine].interactive
    return shown[parts.note], shown[parts.status]


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        (np.tile(np.uint8([0, 2, 7, 255]), (60, 20)), 'choose "several classes'),
        (np.tile(np.uint8([0, 3]), (60, 40)), 'such as 3 under "What is object in the mask"'),
        (np.tile(np.uint8([0, 255]), (50, 30)), 'or tick "stretch it'),
    ],
)
def test_advice_names_what_is_on_the_page(files, tmp_path, values, words):
    with pytest.raises(UserError, match='--') as raised:
        work.read_given(files[0], write(tmp_path, 'other', values), several=False, resize=False)
    told = sentence_of(raised.value, str(files[0]))
    assert words in told and not re.search(r'--|\w=', told)


def test_a_photo_that_exif_turns_is_told_as_on_the_page(files, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = write(tmp_path, 'turned', np.zeros((60, 80, 3), np.uint8), exif=exif)
    with pytest.raises(UserError, match='--exif') as raised:
        work.read_given(photo, files[1], several=False, resize=False)
    told = sentence_of(raised.value)
    assert 'turn one of them' in told and not re.search(r'--|\w=', told)


def test_a_label_map_that_is_turned_is_not_stretched(files, tmp_path):
    labels = write(tmp_path, 'labels', np.zeros((80, 60), np.uint8))
    with pytest.raises(UserError, match='turned by 90 degrees'):
        work.read_given(files[0], labels, several=True, resize=True)


def test_a_mask_that_stays_says_why(page, files, tmp_path, monkeypatch):
    empty = write(tmp_path, 'empty', np.zeros((60, 80), np.uint8))
    assert 'nothing has changed, since the mask is empty' in outcome(page, files[0], empty)[1]
    monkeypatch.setattr(
        'mmseg_cascadepsp.cascade.refine', lambda network, image, *_: image[0].float() * 0
    )
    _, told = outcome(page, *files)
    assert 'The mask stays as it was: the refiner would lose an object of' in told
    monkeypatch.setattr(
        'mmseg_cascadepsp.cascade.refine', lambda network, image, *_: image[0].float() * 0 + 1
    )
    _, told = outcome(page, *files, [*SETTINGS[:2], 50, *SETTINGS[3:]])
    assert 'The mask stays as it was: 88% of it would change, more than allowed' in told


@pytest.mark.parametrize(
    ('error', 'words'),
    [(ZeroDivisionError(), 'its log says how'), (MemoryError(), 'lacks memory or room')],
)
def test_a_fault_of_the_server_leaves_a_page_to_go_on_with(page, files, monkeypatch, error, words):
    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr('mmseg_cascadepsp.cascade.refine', fail)
        note, status = outcome(page, *files)
    assert words in note and not status
    note, status = outcome(page, *files)
    assert not note and 'stays' in status
