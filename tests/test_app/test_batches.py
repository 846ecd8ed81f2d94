"""Requests that run together: each gets what it gets alone, and none harms another."""

import threading
import time
import warnings
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.app.batches import Kind
from mmseg_cascadepsp.app.jobs import JobQueue
from mmseg_cascadepsp.cascade import CascadeSettings, Network
from mmseg_cascadepsp.errors import TimeLimitError

CPU = torch.device('cpu')
#: So that the photos below have crops.
SMALL = CascadeSettings(L=66)


class Watched(Network):
    """A network that notes the batches of its passes, and calls ``before`` with each."""

    def __init__(self, network, before=lambda images: None):
        self.network, self.batches, self.before = network, [], before
        self.strides, self.device = network.strides, network.device
        self.defaults = network.defaults

    def normalize(self, image):
        return self.network.normalize(image)

    def for_image(self, image):
        passes = self.network.for_image(image)

        def run(masks, strides):
            self.batches.append(len(masks))
            self.before(image)
            return passes(masks, strides)

        return run


@pytest.fixture
def network(refiner):
    return Watched(refiner.network.with_defaults(SMALL))


@pytest.fixture
def pairs(photo, mask):
    """Three photos of one size, and one of another."""
    photos = [photo, photo[::-1].copy(), 255 - photo, photo[:-40]]
    masks = [mask, mask[::-1].copy(), mask, mask[:-40]]
    return list(zip(photos, masks, strict=True))


def run_together(calls, kinds=SMALL, time_limit=None):
    """The jobs of calls that wait together, ended."""
    kinds = [kinds] * len(calls) if isinstance(kinds, CascadeSettings) else kinds
    go = threading.Event()
    with JobQueue(size=16, threads=1, time_limit=time_limit) as queue:
        queue.submit(lambda job: go.wait(10))
        jobs = [
            queue.submit(call, kind and Kind('a', kind, CPU))
            for call, kind in zip(calls, kinds, strict=True)
        ]
        go.set()
        assert all(job.wait(60) for job in jobs)
    return jobs


def refining(network, *pair):
    return lambda job: job.watch(Refiner(network)).refine(*pair)


def assert_alike(got, expected):
    """Probabilities of 0 to 255 that rounding alone tells apart."""
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert np.mean(got != expected) < 1e-3


def test_results_are_those_of_calls_alone_and_passes_are_batches(network, pairs):
    expected = [Refiner(network).refine(*pair) for pair in pairs]
    alone, network.batches[:] = len(network.batches), []
    jobs = run_together([refining(network, *pair) for pair in pairs])
    for job, each in zip(jobs, expected, strict=True):
        assert 0 < (each > 127).mean() < 1
        assert_alike(job.result(), each)
        assert job.text == 'done' and job.share == 1
    assert max(network.batches) >= 3 and sum(network.batches) == alone


def test_label_maps_run_together_too(network, pairs):
    labels = [mask.astype(np.uint8) * 3 for _, mask in pairs]
    expected = [
        Refiner(network).refine_semantic(photo, ids)
        for (photo, _), ids in zip(pairs, labels, strict=True)
    ]

    def call(photo, ids):
        return lambda job: job.watch(Refiner(network)).refine_semantic(photo, ids)

    assert (expected[0] != labels[0]).any()
    jobs = run_together([call(photo, ids) for (photo, _), ids in zip(pairs, labels, strict=True)])
    for job, each in zip(jobs, expected, strict=True):
        assert np.mean(job.result() != each) < 1e-3


@pytest.mark.parametrize('at', [1, 3, 4])
def test_one_that_is_cancelled_leaves_and_the_others_go_on(refiner, pairs, at):
    started = []
    network = Watched(
        refiner.network.with_defaults(SMALL),
        lambda _: len(network.batches) == at and started[1].cancel(),
    )
    expected = [refiner.with_settings(L=66).refine(*pair) for pair in pairs[:3]]

    def call(pair):
        def refine(job):
            started.append(job)
            while len(started) < 3:
                pass
            return job.watch(Refiner(network)).refine(*pair)

        return refine

    jobs = run_together([call(pair) for pair in pairs[:3]])
    assert network.batches[: at + 1] == [3] * at + [2]
    for job, each in zip(jobs, expected, strict=True):
        if job is started[1]:
            assert job.text == 'cancelled'
            with pytest.raises(CancelledError):
                job.result()
        else:
            assert_alike(job.result(), each)


def test_all_that_run_together_end_when_they_take_too_long(refiner, pairs):
    network = Watched(refiner.network.with_defaults(SMALL), lambda _: time.sleep(0.3))
    jobs = run_together([refining(network, *pair) for pair in pairs[:3]], time_limit=0.2)
    assert network.batches == [3]
    for job in jobs:
        with pytest.raises(TimeLimitError):
            job.result(0)


def test_one_that_fails_fails_alone(network, pairs):
    """By itself, in its pass, and where a batch is too large."""
    marked = 255 - pairs[0][0] // 2

    def before(images):
        if len(images) > 2:
            raise MemoryError('too many')
        if any(torch.equal(image, bad) for image in images for bad in bad_images):
            raise ValueError('bad picture')

    bad_images = []
    bad = Refiner(Watched(network, lambda images: bad_images.append(images[0].clone())))
    bad.refine(marked, pairs[0][1])
    expected = [Refiner(network).refine(*pair) for pair in pairs[:2]]
    network.before = before
    calls = [refining(network, *pair) for pair in (*pairs[:2], (marked, pairs[0][1]))]
    jobs = run_together([*calls, lambda job: 1 // 0])
    for job, each in zip(jobs, expected, strict=False):
        assert_alike(job.result(), each)
    with pytest.raises(ValueError, match='bad picture'):
        jobs[2].result()
    with pytest.raises(ZeroDivisionError):
        jobs[3].result()


def test_only_one_kind_runs_together_and_no_more_than_there_is_room_for():
    threads = []

    def call(job):
        threads.append((job.kind and job.kind.settings.L, threading.get_ident()))

    large = CascadeSettings(L=900)
    run_together([call] * 8, [large, SMALL, None, SMALL, large, SMALL, SMALL, SMALL])
    worker = threads[0][1]
    assert [L for L, _ in threads] == [900, 66, 66, 66, 66, None, 900, 66]
    assert [thread == worker for _, thread in threads] == [True] + [False] * 4 + [True] * 3


def test_warnings_and_progress_are_their_own():
    def call(count):
        def warn(job):
            warnings.warn(f'{count} things.', stacklevel=1)
            job.report(count, 4)
            return job.text

        return warn

    jobs = run_together([call(count) for count in (1, 2, 3)])
    assert [job.warnings for job in jobs] == [['1 things.'], ['2 things.'], ['3 things.']]
    assert [job.result() for job in jobs] == ['1 of 4', '2 of 4', '3 of 4']


def test_closing_ends_those_that_run_together(refiner, pairs):
    network = Watched(refiner.network.with_defaults(SMALL), lambda _: runs.set() or go.wait(10))
    go, runs, held = threading.Event(), threading.Event(), threading.Event()
    queue = JobQueue(size=4, threads=1)
    queue.submit(lambda job: held.wait(10))
    kind = Kind('a', SMALL, CPU)
    jobs = [queue.submit(refining(network, *pair), kind) for pair in pairs[:3]]
    held.set()
    assert runs.wait(10)
    closing = threading.Thread(target=queue.close)
    closing.start()
    while not all(job._stopped.is_set() for job in jobs):
        pass
    go.set()
    closing.join(10)
    assert [job.text for job in jobs] == ['cancelled'] * 3 and len(network.batches) == 1
