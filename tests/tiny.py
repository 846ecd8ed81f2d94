"""A refiner small enough to run in milliseconds, as files that a user would have."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmseg_cascadepsp.apis import Refiner, build_model
from mmseg_cascadepsp.cascade import CascadeSettings
from mmseg_cascadepsp.cascade.changes import RefinementReport, change_of


class Stub:
    """What stands for a refiner has of one: settings, which it keeps for the next call."""

    name, progress = 'stub', False

    def __init__(self):
        self.cascade = CascadeSettings()

    def with_settings(self, **settings):
        self.cascade = self.cascade.replace(**settings)
        return self

    def blur(self, image, mask):
        """What is done with a mask."""
        return cv2.blur(mask, (9, 9))

    def refine(self, image, mask, return_report=False, threshold=0.5):
        result = self.blur(image, mask)
        report = RefinementReport(change_of(mask > 127, result > 127))
        return (result, report) if return_report else result

    def settings(self):
        names = ('L', 'steps')
        return {'model': self.name, **{name: str(getattr(self.cascade, name)) for name in names}}


TINY = Path(__file__).resolve().parent / 'data' / 'cascadepsp_tiny.py'


@pytest.fixture(scope='session')
def tiny_config():
    """Path of the config of a tiny refiner."""
    return TINY


@pytest.fixture(scope='session')
def tiny_checkpoint(tiny_config, tmp_path_factory):
    """Path of random weights that give masks of both values."""
    torch.manual_seed(0)
    model, _ = build_model(tiny_config)
    for value in model.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    with torch.no_grad():  # half of the logits of each output positive, as of a trained network
        photo, masks = torch.randn(1, 3, 96, 96), torch.rand(1, 3, 96, 96) * 2 - 1
        for stride, logits in model.eval().refine_pass(photo, masks, (8, 4, 1)).items():
            last = model.decode_head.outputs[str(stride)][-1]
            last.weight /= logits.std()
            last.bias -= logits.median() / logits.std()
    path = tmp_path_factory.mktemp('tiny') / 'tiny.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='session')
def refiner(tiny_config, tiny_checkpoint):
    """A tiny refiner on the CPU, in fp32 whatever the processor has."""
    return Refiner(tiny_config, tiny_checkpoint, device='cpu', precision='fp32')


@pytest.fixture
def photo():
    """RGB uint8, 70 x 101."""
    return np.random.default_rng(1).integers(0, 256, (70, 101, 3), np.uint8)


@pytest.fixture
def mask():
    """Bool, 70 x 101, an ellipse."""
    rows, columns = np.ogrid[:70, :101]
    return ((rows - 30) / 20) ** 2 + ((columns - 50) / 30) ** 2 < 1
