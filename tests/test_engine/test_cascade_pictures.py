"""Pictures of a training reach TensorBoard."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_cascadepsp.engine.cascade_recorder import CascadeRecorder
from tests.training import tiny_config, write_data


def build(tmp_path, **changes):
    data = write_data(tmp_path / 'data')
    cfg = Config(tiny_config(data, tmp_path / 'work', **changes))
    cfg.vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    cfg.visualizer.vis_backends = cfg.vis_backends
    cfg.visualizer.name = tmp_path.name  # mmengine keeps one visualizer for each name
    cfg.default_hooks.pictures = dict(type='CascadePicturesHook', interval=2, samples=2, side=48)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint.save_best = None
    cfg.train_cfg.max_iters = 3
    cfg.randomness = dict(seed=0)
    cfg.experiment_name = tmp_path.name
    return cfg


def test_all_outputs_in_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runner = Runner.from_cfg(build(tmp_path))
    runner.train()
    folder = next((tmp_path / 'work').rglob('events.out.tfevents*')).parent
    events = EventAccumulator(str(folder)).Reload()
    (event,) = events.Images('cascade')
    assert event.step == 2
    picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), 1)[..., ::-1]
    # Nine columns of 48 pixels: photo, coarse, six outputs, truth; two rows below the titles.
    assert picture.shape[1] == 9 * 50 and picture.shape[0] > 2 * 48
    stored = cv2.imread(str(next((tmp_path / 'work').rglob('cascade_2.png'))))[..., ::-1]
    np.testing.assert_array_equal(stored, picture)
    coarse, truth = (picture[-50:-2, left : left + 48] for left in (50, 400))
    assert set(np.unique(coarse)) == {0, 255}
    assert np.ptp(truth, axis=2).max() == 0 and {0, 255} < set(np.unique(truth))  # soft
    assert np.abs(truth.astype(int) - coarse).mean() < 100  # unrelated ones: about 127
    assert not runner.model.decode_head._forward_hooks


def test_recorded_is_what_was_trained_on(tmp_path):
    runner = Runner.from_cfg(build(tmp_path))
    model = runner.model
    recorder = CascadeRecorder(model)
    image = torch.randint(0, 256, (1, 3, 16, 24), dtype=torch.uint8)
    inputs = torch.cat((model.data_preprocessor.normalize(image), torch.ones(1, 1, 16, 24)), dim=1)
    recorder.start()
    passes = model._forward(inputs)
    recorder.stop()
    model._forward(inputs)
    assert [list(p) for p in recorder.passes] == [[8], [8, 4], [8, 4, 1]]
    for recorded, given in zip(recorder.passes, passes, strict=True):
        for stride, logits in given.items():
            assert torch.equal(recorded[stride], logits) and not recorded[stride].requires_grad
    assert torch.equal(recorder.rgb().permute(0, 3, 1, 2), image)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match='is for CascadePSP, got Conv2d'):
        CascadeRecorder(torch.nn.Conv2d(1, 1, 1))
