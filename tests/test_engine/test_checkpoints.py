"""What is validated and which checkpoints are there when a run is resumed."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader


class Toy(BaseModel):
    """The smallest model that mmengine trains and validates."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return {'loss': self.linear(inputs).mean()} if mode == 'loss' else [0]


class Score(BaseMetric):
    """A score of one's choice, and how often it was asked for."""

    def __init__(self, score):
        super().__init__()
        self.score, self.asked = score, 0

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        self.asked += 1
        return dict(mBA=self.score, IoU=self.score)


def train(work_dir, score=50.0, save_best='mBA', by_epoch=False, resume=False, **train_cfg):
    """Train; how often it was validated."""
    metric = Score(score)
    loader = DataLoader([dict(inputs=torch.ones(1))] * 2, batch_size=1)
    checkpoint = dict(
        type='mmseg.SafeCheckpointHook',
        by_epoch=by_epoch,
        interval=1 if by_epoch else 2,
        save_best=save_best,
        rule='greater',
    )
    Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=by_epoch, **train_cfg),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=[metric],
        default_hooks=dict(checkpoint=checkpoint, logger=None),
        resume=resume,
        log_level='ERROR',
        default_scope='mmengine',
        experiment_name=f'{work_dir}-{resume}',
    ).train()
    return metric.asked


@pytest.mark.parametrize('save_best', ['mBA', ['mBA', 'IoU']])
@pytest.mark.parametrize('linked', [False, True])
def test_the_best_checkpoint_stays_where_its_score_is_repeated(tmp_path, save_best, linked):
    work_dir = tmp_path / 'run'
    cfg = dict(save_best=save_best, max_iters=2, val_interval=2)
    assert train(work_dir, **cfg) == 1
    names = sorted(path.name for path in work_dir.glob('*.pth'))
    assert 'best_mBA_iter_2.pth' in names
    if linked:  # the old best checkpoint is known by another path
        (tmp_path / 'link').symlink_to(work_dir)
    again = tmp_path / 'link' if linked else work_dir
    assert train(again, 50.001, resume=True, **cfg) == 1
    assert sorted(path.name for path in work_dir.glob('*.pth')) == names


def test_a_former_best_checkpoint_goes(tmp_path):
    assert train(tmp_path, max_iters=2, val_interval=2) == 1
    assert train(tmp_path, 51.0, resume=True, max_iters=3, val_interval=3) == 1
    assert [path.name for path in tmp_path.glob('best*')] == ['best_mBA_iter_3.pth']


@pytest.mark.parametrize('begin, first, resumed', [(1, 2, 1), (4, 1, 1), (100, 0, 0)])
def test_only_a_validation_that_was_due_is_repeated(tmp_path, begin, first, resumed):
    cfg = dict(max_iters=4, val_begin=begin, val_interval=2)
    assert train(tmp_path, **cfg) == first
    assert train(tmp_path, resume=True, **cfg) == resumed


def test_epochs_are_not_taken_for_iterations(tmp_path):
    cfg = dict(by_epoch=True, val_interval=2)
    assert train(tmp_path, max_epochs=1, **cfg) == 1  # the last epoch
    assert train(tmp_path, max_epochs=2, resume=True, **cfg) == 1
