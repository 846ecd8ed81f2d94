"""The losses are the release's: fixed numbers of its own functions, and closed forms."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_cascadepsp.models import GradientLoss, L1L2Loss
from mmseg_cascadepsp.models.refiner import gradient_magnitude

#: What the release's ``compute_loss_and_metrics`` gives for :func:`batch`: pass, stride -> loss.
RELEASE = {
    (3, 1): 1.2584242820739746,
    (1, 8): 1.055153727531433,
    (2, 4): 0.7217034697532654,
    (2, 8): 1.0500563383102417,
    (3, 8): 1.0462596416473389,
    (3, 4): 0.7131915092468262,
}
RELEASE_GRADIENT = 0.10160039365291595
RELEASE_TOTAL = 5.844789028167725


@pytest.fixture(scope='module')
def batch():
    """Soft truth (2, 1, 40, 48) and the six outputs' logits, in the release's order of drawing."""
    random = np.random.RandomState(0)
    truth = torch.from_numpy(random.random_sample((2, 1, 40, 48))).float()
    truth = torch.where(truth < 0.4, 0.0, torch.where(truth > 0.6, 1.0, truth))
    passes = [{}, {}, {}]
    for number, stride in ((0, 8), (1, 8), (1, 4), (2, 8), (2, 4), (2, 1)):
        logits = torch.from_numpy(random.normal(0, 2, (2, 1, 40, 48))).float()
        passes[number][stride] = logits
    return truth, passes


def test_losses_equal_the_release(batch):
    truth, passes = batch
    config = Config.fromfile('configs/_base_/models/cascadepsp_lite.py')
    head = MODELS.build(config.model.decode_head)
    losses = head.loss(passes, truth)
    assert sum(losses.values()).item() == pytest.approx(RELEASE_TOTAL, rel=1e-6)
    for (number, stride), expected in RELEASE.items():
        ours = sum(v for k, v in losses.items() if k.startswith(f'pass{number}.s{stride}.'))
        assert ours.item() == pytest.approx(expected, rel=1e-6)
    gradient = losses['pass3.s1.loss_gradient'].item() / 5
    assert gradient == pytest.approx(RELEASE_GRADIENT, rel=1e-6)


def test_gradient_of_a_ramp_is_its_slope():
    ramp = (0.01 * torch.arange(20.0)).expand(1, 1, 20, 20)
    # Sobel over 4 sums the slope over two pixels four times over.
    inside = gradient_magnitude(ramp)[..., 3:-3, 3:-3]
    torch.testing.assert_close(inside, torch.full_like(inside, (0.02**2 + 1e-4) ** 0.5))


def test_gradients_stay_finite_where_nothing_changes():
    logits = torch.zeros(1, 1, 16, 16, requires_grad=True)
    GradientLoss()(logits, torch.zeros(1, 1, 16, 16)).backward()
    assert logits.grad.isfinite().all()


def test_pixels_at_the_boundary_may_weigh_more():
    """Against a loop over the pixels."""
    truth = torch.zeros(2, 1, 14, 18)
    truth[0, 0, 3:9, 4:20] = 1
    truth[1, 0, 6, 6] = 0.4  # changes too little to be a boundary
    logits = torch.randn(2, 1, 14, 18, generator=torch.Generator().manual_seed(0))
    found = L1L2Loss(2, 3, boundary_radius=2, boundary_weight=4)(logits, truth)
    error = (logits.sigmoid() - truth).abs()
    expected, weighed = 0.0, 0
    for b, _, y, x in np.ndindex(*truth.shape):
        square = truth[b, 0, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        weight = 4 if square.max() - square.min() > 0.5 else 1
        weighed += weight == 4
        expected += weight * (2 * error[b, 0, y, x] + 3 * error[b, 0, y, x] ** 2)
    assert 50 < weighed < 0.5 * truth.numel()
    assert found.item() == pytest.approx(expected.item() / truth.numel(), rel=1e-5)
    plain = L1L2Loss(2, 3)(logits, truth).item()
    assert plain == pytest.approx((2 * error + 3 * error**2).mean().item(), rel=1e-6)
    with pytest.raises(ValueError, match='boundary_radius must be at least 1 pixel, got 0'):
        L1L2Loss(boundary_radius=0)


def test_l1_and_l2_of_a_constant_error():
    truth = torch.full((1, 1, 4, 4), 0.75)
    loss = L1L2Loss(l1_weight=2, l2_weight=3)(torch.zeros(1, 1, 4, 4), truth)
    assert loss.item() == pytest.approx(2 * 0.25 + 3 * 0.0625)
