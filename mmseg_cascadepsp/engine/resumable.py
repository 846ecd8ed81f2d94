"""Training that gives the same weights whether or not it was interrupted and resumed.

MMEngine saves model, optimiser, schedule and EMA, but not the state of random generators. To
resume, it reads all past batches again. Here generators are seeded anew for each sample and each
iteration, from its number. So there is no state to save and nothing to read again.
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

#: What a seed is for.
SAMPLE, ITERATION = 0, 1


def seed_from_place(*place: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch.

    Args:
        place: Non-negative integers. The same integers give the same random numbers.

    Example:
        >>> seed_from_place(0, SAMPLE, 7)
        >>> first = torch.rand(1)
        >>> seed_from_place(0, SAMPLE, 7)
        >>> torch.equal(torch.rand(1), first)
        True
    """
    words = np.random.SeedSequence(place).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words)
    torch.manual_seed(int(words[1]))


class SampleIndex(int):
    """Index of a sample in its dataset, with its position in the stream of samples.

    Args:
        index: Index in the dataset.
        seed: Seed of the run.
        position: Position in the stream.

    Example:
        >>> index = SampleIndex(3, seed=0, position=12)
        >>> index, index.position
        (3, 12)
    """

    def __new__(cls, index: int, seed: int, position: int) -> 'SampleIndex':
        """The index, with the place in the training that it has."""
        self = super().__new__(cls, index)
        self.seed, self.position = seed, position
        return self

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.seed, self.position)


@DATA_SAMPLERS.register_module()
class ResumableSampler(InfiniteSampler):
    """MMEngine's infinite sampler that can begin at any position of its stream.

    All processes share one stream. Of ``n`` processes, the one of rank ``r`` takes positions
    ``r``, ``r + n`` and so on. Two processes with batches of 2 see the same samples as one process
    with batches of 4.

    Args:
        dataset: Dataset to sample.
        shuffle: Whether to draw a new permutation for every round through the dataset.
        seed: Seed of the permutations, the same in all processes. None draws one.

    Example:
        >>> from itertools import islice
        >>> sampler = ResumableSampler(range(3), shuffle=False, seed=0)
        >>> sampler.start = 2
        >>> list(islice(sampler, 4))
        [2, 0, 1, 2]
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        #: Number of samples of this process to skip.
        self.start = 0

    def __iter__(self) -> Iterator[SampleIndex]:
        """Yield indices with their positions, without end."""
        stream = zip(self._infinite_indices(), count(), strict=False)
        first = self.rank + self.start * self.world_size
        for index, position in islice(stream, first, None, self.world_size):
            yield SampleIndex(index, self.seed, position)


@DATASETS.register_module()
class PlaceSeededDataset:
    """Dataset whose random generators are seeded before each sample.

    The seed comes from the :class:`SampleIndex`. A sample therefore does not depend on the worker,
    the process or earlier samples.

    Args:
        dataset: The dataset, or its config.

    Example:
        >>> len(PlaceSeededDataset(range(3)))
        3
    """

    def __init__(self, dataset: dict | Dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getattr__(self, name: str) -> Any:
        """Read other attributes, such as ``metainfo``, from the dataset."""
        if name == 'dataset':  # not set yet while this object is copied
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
    """MMEngine's training loop over iterations that resumes as if it had never stopped.

    Augmentation and perturbation of a sample are seeded from the seed of the run and the position
    of the sample. Dropout is seeded from the seed, the iteration and the rank. On a CPU in float32
    a training that was killed and resumed ends with exactly the same weights. A resumed run starts
    at the right sample without reading earlier ones.

    Args:
        runner: The runner.
        dataloader: Data loader or its config, with a :class:`ResumableSampler`. The dataset of a
            config is wrapped in a :class:`PlaceSeededDataset`. A data loader must have one.
        args, kwargs: See :class:`mmengine.runner.IterBasedTrainLoop`.

    Raises:
        InvalidValueError: The sampler is another one.

    Example:
        >>> cfg = dict(type='ResumableTrainLoop', max_iters=100)
        >>> LOOPS.get(cfg['type']).__name__
        'ResumableTrainLoop'
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
                'train_dataloader.sampler: ResumableTrainLoop needs a ResumableSampler, '
                f'got {type(self._sampler).__name__}; give type=ResumableSampler, or '
                'train_cfg.type=IterBasedTrainLoop'
            )

    def run(self) -> torch.nn.Module:
        """Train from the current iteration to the last."""
        if self._iter:
            if self._sampler.seed == self._seed:
                # Without a seed in the config, resuming has just replaced a random seed.
                self._sampler.seed = self.runner.seed
            self._sampler.start = self._iter * self.dataloader.batch_sampler.batch_size
            # MMEngine drops the batches before the current iteration. Give it empty ones to drop.
            self.dataloader_iterator = chain(repeat(None, self._iter), iter(self.dataloader))
        return super().run()

    def run_iter(self, data_batch: Any) -> None:
        """Run one iteration with seeded random generators."""
        seed_from_place(self.runner.seed, ITERATION, self._iter, self.runner.rank)
        super().run_iter(data_batch)
