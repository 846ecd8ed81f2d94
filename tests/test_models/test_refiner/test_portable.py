"""What is exported is the same function."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding

from mmseg_cascadepsp.models.refiner.portable import PortableNetwork, pool_by_products
from tests.test_models.test_refiner.test_inference import model  # noqa: F401  a fixture


@pytest.mark.parametrize('size', [1, 2, 3, 6])
@pytest.mark.parametrize('shape', [(1, 1), (2, 5), (6, 12), (13, 7), (31, 113)])
def test_pooling_by_products_is_adaptive_pooling(size, shape):
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(x, size)
    torch.testing.assert_close(pool_by_products(x, size), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize('shape', [(1, 8, 8), (2, 40, 72), (1, 64, 32), (1, 136, 24)])
def test_portable_network_is_the_model(model, shape):  # noqa: F811
    before = copy.deepcopy(model.state_dict())
    network = PortableNetwork(model)
    assert not any(isinstance(module, Conv2dAdaptivePadding) for module in network.modules())
    batch, height, width = shape
    image, masks = torch.randn(2, batch, 3, height, width, dtype=torch.float64)
    with torch.no_grad():
        expected = model.refine_pass(image, masks.tanh(), model.cascade_strides)
        found = network(image, masks.tanh())
        again = model.refine_pass(image, masks.tanh(), model.cascade_strides)
    assert list(expected) == list(network.strides)
    for logits, (stride, exact) in zip(found, expected.items(), strict=True):
        assert exact.abs().max() > 1e-3
        torch.testing.assert_close(logits, exact, atol=1e-10, rtol=0)
        assert torch.equal(exact, again[stride])  # the model stays as it is
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(value.requires_grad for value in model.parameters())
