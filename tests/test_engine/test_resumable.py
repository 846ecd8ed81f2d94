"""Trainings that are killed and resumed, and those that never were."""

import pickle
import signal
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmseg_cascadepsp.engine import ResumableSampler, ResumableTrainLoop
from mmseg_cascadepsp.engine.resumable import PlaceSeededDataset
from tests.training import tiny_config, train, write_data

ITERATIONS = 6


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'), val=1)


def config(data, work_dir, **changes):
    kill = changes.pop('kill', {})
    return tiny_config(data, work_dir, **{
        'max_iters': ITERATIONS,
        'train_cfg.max_iters': ITERATIONS,
        'train_cfg.val_interval': 4,
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'custom_hooks': [
            dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10, update_buffers=True),
            dict(type='NoiseHook'),
            dict(type='KillHook', **kill),
        ],
        **changes,
    })  # fmt: skip


def load(work_dir, iteration=ITERATIONS):
    return torch.load(work_dir / f'iter_{iteration}.pth', map_location='cpu', weights_only=True)


def assert_same(a, b, where=''):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f'{where}.{i}')
    else:
        assert a == b, where


@pytest.fixture(scope='module')
def never_killed(data, tmp_path_factory):
    """Checkpoint of a run that drew its seed itself."""
    work_dir = tmp_path_factory.mktemp('never')
    assert train(config(data, work_dir)) == [0]
    return load(work_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kill', 'workers', 'resumed_from'),
    [
        (dict(iteration=5), 0, 4),
        (dict(iteration=3), 2, 2),
        (dict(saving='iter_4.pth'), 2, 2),
        (dict(saving='best_mBA_iter_4.pth'), 0, 4),
    ],
    ids=['between', 'between, with workers', 'while saving', 'while saving the best'],
)
def test_killed_and_resumed_is_never_killed(
    data, tmp_path, never_killed, kill, workers, resumed_from
):
    loader = {
        'train_dataloader.num_workers': workers,
        'train_dataloader.persistent_workers': workers > 0,
    }
    seed = dict(randomness=dict(seed=never_killed['meta']['seed']))
    killed = train(config(data, tmp_path, kill=kill, **seed, **loader))
    assert killed == [-signal.SIGKILL]
    last = (tmp_path / 'last_checkpoint').read_text()
    assert last == str(tmp_path / f'iter_{resumed_from}.pth')
    load(tmp_path, resumed_from)  # whole, though only one checkpoint is kept
    halves = list(tmp_path.glob('.*.tmp'))
    assert bool(halves) == ('saving' in kill)
    if not halves:
        # MMEngine empties this file before it writes to it: a kill may come between.
        (tmp_path / 'last_checkpoint').write_text('')
    # Without a seed of its own: it is the checkpoint's.
    assert train(config(data, tmp_path, resume=True, **loader)) == [0]
    resumed = load(tmp_path)
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_same(never_killed[part], resumed[part], part)
    assert sorted(path.name for path in tmp_path.glob('iter_*.pth')) == [f'iter_{ITERATIONS}.pth']
    assert not list(tmp_path.glob('.*.tmp'))


@pytest.mark.slow
def test_a_validation_that_was_killed_is_made_up_for(data, tmp_path):
    settings = {'train_cfg.val_interval': ITERATIONS}
    best = f'best_mBA_iter_{ITERATIONS}.pth'
    assert train(config(data, tmp_path, kill=dict(saving=best), **settings)) == [-signal.SIGKILL]
    before = load(tmp_path)
    assert not (tmp_path / best).exists()
    assert train(config(data, tmp_path, resume=True, **settings)) == [0]
    assert (tmp_path / best).exists()
    assert_same(before['state_dict'], load(tmp_path)['state_dict'])


class Stream:
    """A dataset of random numbers."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return index, np.random.rand(), torch.rand(1).item()


def batches(workers=0, start=0, seed=3):
    dataset = PlaceSeededDataset(Stream())
    sampler = ResumableSampler(dataset, seed=seed)
    sampler.start = start
    loader = DataLoader(
        dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=list
    )
    return list(islice(loader, 9 - start // 2))


def test_a_sample_depends_on_its_place_alone():
    whole = batches()
    assert batches(start=8) == whole[4:]
    assert batches(workers=2, start=2) == whole[1:]
    numbers = [sample[1:] for batch in whole for sample in batch]
    assert len(set(numbers)) == len(numbers)  # a photo's second turn is another sample
    assert batches(seed=4) != whole
    rounds = [sample[0] for batch in whole for sample in batch][:15]
    assert all(sorted(rounds[i : i + 5]) == list(range(5)) for i in (0, 5, 10))


@pytest.mark.parametrize('start', [0, 3])
def test_processes_share_the_stream(monkeypatch, start):
    def indices(rank, size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, size))
        sampler = ResumableSampler(Stream(), seed=1)
        sampler.start = start * 2 // size
        return [(int(i), i.position) for i in islice(sampler, 12 // size)]

    pairs = zip(indices(0, 2), indices(1, 2), strict=True)
    assert [i for pair in pairs for i in pair] == indices(0, 1)


def test_places_survive_pickling_and_copies():
    dataset = PlaceSeededDataset(Stream())
    index = next(iter(ResumableSampler(dataset, seed=7)))
    again = pickle.loads(pickle.dumps(index))
    assert (again, again.seed, again.position) == (index, 7, 0)
    copied = pickle.loads(pickle.dumps(dataset))
    assert copied[index] == dataset[again]


def test_a_sampler_that_cannot_begin_anywhere(data, tmp_path):
    from mmengine.config import Config

    cfg = Config(config(data, tmp_path, **{'train_dataloader.sampler.type': 'InfiniteSampler'}))
    with pytest.raises(ValueError, match='got InfiniteSampler; give type=ResumableSampler'):
        Runner.from_cfg(cfg).train()


def test_a_dataset_that_is_built_is_seeded_too():
    runner = SimpleNamespace(
        seed=3, rank=0, _randomness_cfg={}, build_dataloader=Runner.build_dataloader
    )
    loader = dict(
        dataset=Stream(),
        batch_size=2,
        num_workers=0,
        sampler=dict(type='ResumableSampler'),
        collate_fn=list,
    )
    loop = ResumableTrainLoop(runner, loader, max_iters=9)
    assert list(islice(loop.dataloader, 9)) == batches()
