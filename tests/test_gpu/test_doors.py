"""What doors give on a GPU against the CPU. GPU_TESTS_ON=cpu runs the same bodies without one."""

import os

import numpy as np
import pytest
import torch

from mmseg_cascadepsp import Refiner

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


@pytest.mark.parametrize('precision, bound', [('fp32', 1), ('auto', 6), ('bf16', 12)])
@pytest.mark.parametrize('fast', [True, False])
def test_probabilities_of_a_mask(refiner, there, photo, mask, precision, bound, fast):
    expected = refiner.refine(photo, mask, fast=fast, L=96).astype(int)
    found = there(precision).refine(photo, mask, fast=fast, L=96)
    assert (np.abs(found - expected) <= bound).mean() > 0.99


def test_a_pass_in_float32(refiner, there):
    """Logits within 1e-4 of their range."""
    torch.manual_seed(0)
    image, masks = torch.randn(1, 3, 96, 96), torch.rand(1, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        expected = refiner.network.for_image(image)(masks, (1,))[1]
        network = there('fp32').network
        found = network.for_image(image.to(DEVICE))(masks.to(DEVICE), (1,))[1].cpu()
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)
