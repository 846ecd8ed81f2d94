"""Training that, resumed, takes the same way to the same weights.

MMEngine saves model, optimiser, schedule and EMA, but no randomness, and reads all past batches
again to get back to its place in the data. Here randomness belongs to a place in the run (a sample
of the stream, an iteration) instead of to a process: there is no state to save, and nothing to
read again.
"""

import random
from collections.abc import Iterator, Sized
from itertools import chain, count, islice, repeat
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import DATA_SAMPLERS, DATASETS, LOOPS
from torch.utils.data import DataLoader, Dataset

from mmseg_cascadepsp.errors import InvalidValueError

#: The two kinds of places that randomness is seeded from.
SAMPLE, ITERATION = 0, 1


def seed_from_place(*place: int) -> None:
    """Seed Python's, numpy's and torch's generators from the integers that name a place."""
    words = np.random.SeedSequence(place).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words)
    torch.manual_seed(int(words[1]))


class SampleIndex(int):
    """Index of a sample that knows its place in the stream: ``seed`` and ``position``."""

    def __new__(cls, index: int, seed: int, position: int) -> 'SampleIndex':
        """The index, with the place in the training that it has."""
        self = super().__new__(cls, index)
        self.seed, self.position = seed, position
        return self

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.seed, self.position)


@DATA_SAMPLERS.register_module()
class ResumableSampler(InfiniteSampler):
    """MMEngine's infinite sampler, which can begin anywhere in its stream.

    There is one stream for all processes: of ``n``, that of rank ``r`` takes the positions ``r``,
    ``r + n``, ... So two processes of batch 2 see what one of batch 4 sees.

    Args:
        dataset: what is sampled.
        shuffle: a new permutation for every round through the dataset.
        seed: of the permutations, the same in all processes; None draws one.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        #: Number of samples of this process to pass over.
        self.start = 0

    def __iter__(self) -> Iterator[SampleIndex]:
        """Indices with their places, endlessly."""
        stream = zip(self._infinite_indices(), count(), strict=False)
        first = self.rank + self.start * self.world_size
        for index, position in islice(stream, first, None, self.world_size):
            yield SampleIndex(index, self.seed, position)


@DATASETS.register_module()
class PlaceSeededDataset:
    """A dataset whose randomness is seeded from a :class:`SampleIndex` before each sample: neither
    worker nor process nor the samples before make a difference.

    Args:
        dataset: the dataset, or its config.
    """

    def __init__(self, dataset: dict | Dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getattr__(self, name: str) -> Any:
        """The rest (``metainfo``, ``full_init``, ...) is the dataset's own."""
        if name == 'dataset':  # asked for while a copy of this object is being made
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SampleIndex):
            seed_from_place(index.seed, SAMPLE, index.position)
        return self.dataset[int(index)]


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations; resumed, it goes on as if it had never stopped.

    The randomness of a sample (augmentation, perturbation) is seeded from the run's seed and the
    sample's position in the stream, that of an iteration (dropout) from seed, iteration and
    rank. On the CPU in fp32, killed and resumed training ends at the very same weights. A resumed
    run begins with the sample whose turn it is, without reading those before it.

    Args:
        runner: as MMEngine hands it in.
        dataloader: its sampler is a :class:`ResumableSampler`. The dataset of a config, itself a
            config or built, becomes a :class:`PlaceSeededDataset`; that of a built loader is one.
        args: see :class:`mmengine.runner.IterBasedTrainLoop`, as ``kwargs``.

    Raises:
        ValueError: the sampler is another one.
    """

    def __init__(self, runner: Runner, dataloader: dict | DataLoader, *args, **kwargs) -> None:
        if isinstance(dataloader, dict):
            dataset = dict(type='PlaceSeededDataset', dataset=dataloader['dataset'])
            dataloader = {**dataloader, 'dataset': dataset}
        super().__init__(runner, dataloader, *args, **kwargs)
        self._seed = runner.seed
        self._sampler = getattr(self.dataloader.batch_sampler, 'sampler', None)
        if not isinstance(self._sampler, ResumableSampler):
            raise InvalidValueError(
                'train_dataloader.sampler: ResumableTrainLoop needs one that can begin anywhere, '
                f'got {type(self._sampler).__name__}; give type=ResumableSampler, or '
                'train_cfg.type=IterBasedTrainLoop'
            )

    def run(self) -> torch.nn.Module:
        """Train from the current iteration to the last."""
        if self._iter:
            if self._sampler.seed == self._seed:
                # Where the config names no seed, the checkpoint's has just replaced a random one.
                self._sampler.seed = self.runner.seed
            self._sampler.start = self._iter * self.dataloader.batch_sampler.batch_size
            # MMEngine takes the batches that were trained on and drops them; these are nothing.
            self.dataloader_iterator = chain(repeat(None, self._iter), iter(self.dataloader))
        return super().run()

    def run_iter(self, data_batch: Any) -> None:
        """One iteration with randomness of its own."""
        seed_from_place(self.runner.seed, ITERATION, self._iter, self.runner.rank)
        super().run_iter(data_batch)
