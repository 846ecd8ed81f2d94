"""Results saved and drawn in a line."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_cascadepsp import draw_before_after, save_mask
from mmseg_cascadepsp.errors import UserError
from mmseg_cascadepsp.files import read_image, read_mask
from mmseg_cascadepsp.visualization import before_after, default_palette

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (60, 80, 3), np.uint8)
MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:60] = True
REFINED = np.roll(MASK, 4, axis=1) * np.uint8(200) + np.uint8(20)


@pytest.mark.parametrize('suffix', ['png', 'npy'])
def test_a_mask_is_saved_hard_or_as_probability(tmp_path, suffix):
    def read(path):
        return np.load(path) if suffix == 'npy' else np.asarray(Image.open(path))

    path = tmp_path / 'new' / f'mask.{suffix}'
    save_mask(path, REFINED)
    np.testing.assert_array_equal(read(path), np.where(REFINED > 127, 255, 0))
    save_mask(path, REFINED, threshold=0.05)
    assert (read(path) == 255).all()
    save_mask(path, REFINED, threshold=None)
    np.testing.assert_array_equal(read(path), REFINED)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('a.jpg', REFINED), 'a.jpg is a JPEG, which blurs'),
        (('a.gif', REFINED), 'path must end in .png'),
        (('a.png', REFINED / 255), 'refined must be uint8'),
        (('a.png', REFINED, 7), 'threshold must be'),
    ],
)
def test_what_cannot_be_saved_has_a_sentence(arguments, words):
    with pytest.raises(UserError, match=words):
        save_mask(*arguments)


def test_the_picture_is_that_of_plain_arrays(tmp_path):
    expected = before_after(PHOTO, MASK, REFINED > 127)
    save_mask(tmp_path / 'mask.png', MASK * np.uint8(255))
    for image, mask in (
        (PHOTO, MASK),
        (Image.fromarray(PHOTO), torch.from_numpy(MASK)[None]),
        (torch.from_numpy(PHOTO).permute(2, 0, 1), tmp_path / 'mask.png'),
    ):
        found = draw_before_after(image, mask, REFINED, tmp_path / 'picture.png')
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(read_image(tmp_path / 'picture.png'), expected)
    small = MASK[::2, ::2]
    assert draw_before_after(PHOTO, small, REFINED).shape == expected.shape
    assert (read_mask(tmp_path / 'mask.png') > 127).tolist() == MASK.tolist()


def test_label_maps_are_drawn_with_their_palette():
    before, after = MASK.astype(np.int64) * 2, np.roll(MASK, 4, axis=1).astype(np.int64) * 2
    palette = default_palette(3)
    expected = before_after(PHOTO, before, after, palette=palette)
    found = draw_before_after(PHOTO, torch.from_numpy(before)[None], after, palette=palette)
    np.testing.assert_array_equal(found, expected)
