import pytest
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.cascade.memory import fitting_L
from mmseg_cascadepsp.errors import DeviceMemoryError, UserError


class Small(Network):
    """A network on a device with room for images of so many pixels."""

    def __init__(self, pixels):
        self.pixels = pixels

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        if image.shape[0] * image.shape[-1] * image.shape[-2] > self.pixels:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
        return lambda masks, strides: dict.fromkeys(strides, 5 * masks[:, :1])


@pytest.mark.parametrize('fast', [True, False])
def test_what_is_advised_fits_in_the_end(photo, mask, fast):
    refiner, L, told = Refiner(Small(100 * 100)), 400, 0
    for _ in range(8):
        try:
            refiner.refine(photo, mask, L=L, fast=fast)
            break
        except RuntimeError as error:  # as PyTorch's own
            assert isinstance(error, UserError)
            told += 1
            sentence = str(error)
            assert sentence.startswith(f'L={L} needs more memory than cpu has free: give L=')
            advised = int(sentence.split('give L=')[1].split()[0])
            assert f'(--L {advised})' in sentence and advised < L
            L = advised
    assert told and L >= 66


def test_a_batch_is_made_smaller_first(photo, mask):
    refiner = Refiner(Small(0), batch_size=4)
    with pytest.raises(DeviceMemoryError, match=r'give batch_size=1 in place of 4, or L=\d+'):
        refiner.refine(photo, mask, L=96)


def test_label_maps_say_it_too(photo, mask):
    with pytest.raises(DeviceMemoryError, match='needs more memory'):
        Refiner(Small(0)).refine_semantic(photo, mask.astype(int))


@pytest.mark.parametrize('needed', [10**9, 3 * 10**9, 10**11])
def test_memory_grows_with_the_square(needed):
    L = fitting_L(900, needed, 10**9)
    assert 66 <= L < 900
    assert L == 66 or needed * (L / 900) ** 2 <= 10**9


def test_at_the_smallest_there_is_no_advice(photo, mask):
    with pytest.raises(DeviceMemoryError, match='give another device'):
        Refiner(Small(0)).refine(photo, mask, L=66)
