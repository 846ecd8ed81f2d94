"""The paper's network gives what the authors' network gives on the same weights.

``data/release_network.npz`` holds what version 0.6 of ``segmentation-refinement`` computes for
:mod:`.release_network`, its logits in double precision.
"""

from functools import partial

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.cascade import crop_grid, run_cascade
from mmseg_cascadepsp.models.refiner.convert import convert_release_state_dict, rename_release_key
from mmseg_cascadepsp.models.refiner.zoo import build_model

from .release_network import CASES, FIXTURE, random_weights, scene, tensors

#: The authors' name of each output, and the pass and stride that make it here.
OUTPUTS = {
    'out_28': (0, 8),
    'out_28_2': (1, 8),
    'out_56': (1, 4),
    'out_28_3': (2, 8),
    'out_56_2': (2, 4),
    'out_224': (2, 1),
}


@pytest.fixture(scope='module')
def network():
    model, _ = build_model('r50')
    # Our names back to the release's, to draw the weights in the release's order.
    theirs = {}
    for key, value in model.state_dict().items():
        old = key.replace('backbone.', 'feats.').replace('decode_head.', '')
        old = old.replace('outputs.8.', 'final_28.').replace('outputs.4.', 'final_56.')
        old = old.replace('outputs.1.0.', 'final_11.').replace('outputs.1.2.', 'final_21.')
        for i in range(3):
            old = old.replace(f'ups.{i}.', f'up_{i + 1}.')
        if old.startswith('psp.stages.'):
            old = old.replace('.weight', '.1.weight')
        assert rename_release_key(old) == key
        theirs[old] = value.shape
    assert sum(np.prod(s, dtype=int) for k, s in theirs.items() if 'running' not in k) > 67.6e6
    model.load_state_dict(convert_release_state_dict(random_weights(theirs)))
    model.eval()
    return model


@pytest.fixture(scope='module')
def numbers():
    with np.load(FIXTURE) as file:
        return dict(file)


def test_three_passes_equal_the_authors(network, numbers):
    image, mask = tensors(64, 72)
    with torch.inference_mode():
        passes = run_cascade(partial(network.refine_pass, image), mask, (8, 4, 1))
    for name, (number, stride) in OUTPUTS.items():
        ours = passes[number][stride][0, 0, ::5, ::5]
        theirs = torch.from_numpy(numbers[name])
        assert theirs.max() - theirs.min() > 0.2
        # As probabilities, whose range is 0 to 1.
        assert (ours.sigmoid() - theirs.sigmoid()).abs().max() <= 2e-6, name


@pytest.mark.slow
def test_equal_in_double_precision(network, numbers):
    image, mask = tensors(64, 72)
    try:
        with torch.inference_mode():
            passes = run_cascade(
                partial(network.double().refine_pass, image.double()), mask.double(), (8, 4, 1)
            )
    finally:
        network.float()
    for name, (number, stride) in OUTPUTS.items():
        ours = passes[number][stride][0, 0, ::5, ::5].numpy()
        np.testing.assert_allclose(ours, numbers[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'case', [*CASES[:2], pytest.param(CASES[2], marks=pytest.mark.slow)], ids=str
)
def test_refine_equals_the_authors(network, numbers, case):
    height, width, L, fast = case
    name = f'{height}x{width}_{L}_{"fast" if fast else "full"}'
    refiner = Refiner(network, precision='fp32', compat='release')
    difference = refiner.refine(*scene(height, width), fast=fast, L=L).astype(int) - numbers[name]
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() >= 0.999
    if not fast:
        refined = int(numbers[f'{name}_crops'])
        assert 0 < refined < sum(1 for _ in crop_grid(height, width, L, 'release'))


def test_paper_options_of_the_config():
    test_cfg = Config.fromfile('configs/cascadepsp_r50.py').model.test_cfg
    assert dict(test_cfg) == dict(L=900, enlarge=False, crop_filter='release')
