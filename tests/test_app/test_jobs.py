"""The queue: order, bounds, progress, and jobs that are given up."""

import gc
import threading
import time
import warnings
import weakref
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.app import jobs
from mmseg_cascadepsp.app.jobs import JobQueue
from mmseg_cascadepsp.cascade import CascadeSettings, Network
from mmseg_cascadepsp.errors import BusyError, TimeLimitError, UserError


@pytest.fixture
def queue():
    with JobQueue(size=2, threads=1) as queue:
        yield queue


@pytest.fixture
def held(queue):
    """A job that runs until the event is set."""
    go, runs = threading.Event(), threading.Event()
    job = queue.submit(lambda job: (runs.set(), go.wait(10)))
    assert runs.wait(10)
    yield go, job
    go.set()


class Counting(Network):
    """Gives back the mask, counts its passes, and calls ``before`` at the start of each."""

    defaults = CascadeSettings(L=160)

    def __init__(self, before=lambda count: None):
        self.passes, self.before = [], before  # shared by copies with other defaults

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        def run(masks, strides):
            self.passes.append(strides)
            self.before(len(self.passes))
            return dict.fromkeys(strides, masks[:, :1] * 9)

        return run


def large_pair():
    mask = np.zeros((300, 300), bool)
    mask[40:260, 40:260] = True
    return np.zeros((300, 300, 3), np.uint8), mask


def refiner_of(network):
    from mmseg_cascadepsp import Refiner

    return Refiner(network)


def test_jobs_run_in_turn_and_give_back_what_they_return(queue, held):
    order = []
    jobs = [queue.submit(lambda job, name=name: order.append(name) or name) for name in 'ab']
    assert [job.text for job in jobs] == ['waiting'] * 2 and queue.waiting() == 2
    assert not jobs[0].wait(0.01)
    held[0].set()
    assert [job.result(10) for job in jobs] == ['a', 'b'] and order == ['a', 'b']
    assert jobs[0].wait() and (jobs[0].share, jobs[0].text) == (1, 'done')


def test_a_full_queue_refuses_and_says_when_to_come_back(queue, held):
    jobs = [queue.submit(lambda job: 1) for _ in range(2)]
    with pytest.raises(BusyError, match='2 requests wait already') as caught:
        queue.submit(lambda job: 1)
    assert isinstance(caught.value, UserError) and 1 <= caught.value.retry_after <= 600
    jobs[0].cancel()  # its place is free at once
    queue.submit(lambda job: 1)


def test_a_waiting_job_that_is_cancelled_never_runs_and_lets_go_of_its_pictures(queue, held):
    picture = np.zeros(10)
    alive = weakref.ref(picture)
    ran = []
    job = queue.submit(lambda job, picture=picture: ran.append(picture))
    del picture
    job.cancel()
    gc.collect()
    assert alive() is None and job.wait(0) and job.text == 'cancelled'
    with pytest.raises(CancelledError):
        job.result()
    held[0].set()
    queue.submit(lambda job: None).result(10)
    assert not ran


def test_an_ended_job_is_let_go(queue):
    picture = np.zeros(10)
    alive = weakref.ref(picture)
    job = queue.submit(lambda job, picture=picture: picture)
    assert job.result(10) is picture
    del picture, job
    queue.submit(lambda job: None).result(10)
    gc.collect()
    assert alive() is None


def test_errors_reach_the_caller_and_the_queue_goes_on(queue):
    job = queue.submit(lambda job: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        job.result(10)
    assert job.text == 'failed'
    assert queue.submit(lambda job: 2).result(10) == 2


def test_warnings_of_a_call_are_kept_with_its_job(queue):
    job = queue.submit(lambda job: warnings.warn('the mask is empty.', stacklevel=1))
    job.result(10)
    assert job.warnings == ['the mask is empty.']


def test_the_worker_takes_the_threads_it_is_given(queue):
    assert queue.submit(lambda job: torch.get_num_threads()).result(10) == 1


def test_closing_cancels_what_waits_and_what_runs():
    queue, seen = JobQueue(size=2), []
    runs = threading.Event()

    def call(job):
        runs.set()
        while True:
            job.report(1, 2)

    jobs = [queue.submit(call), queue.submit(seen.append)]
    assert runs.wait(10)
    queue.close()
    assert [job.text for job in jobs] == ['cancelled'] * 2 and not seen
    with pytest.raises(BusyError, match='shut down'):
        queue.submit(call)


def test_a_refinement_reports_its_crops_and_equals_that_without_a_job(queue):
    image, mask = large_pair()
    refiner, shares = refiner_of(Counting()), []
    expected = refiner.refine(image, mask)

    def call(job):
        report = job.report
        job.report = lambda done, total: (report(done, total), shares.append(job.share))
        return job.watch(refiner).refine(image, mask)

    assert np.array_equal(queue.submit(call).result(10), expected)
    assert len(shares) > 3 and shares == sorted(shares) and shares[-1] == 1


@pytest.mark.parametrize('at', [1, 2, 4, 9])
def test_a_refinement_that_is_cancelled_runs_no_pass_more(queue, at):
    """Pass 1 to 3 are the Global step, then come two a crop."""
    jobs = []
    network = Counting(lambda count: count == at and jobs[0].cancel())
    refiner = refiner_of(network)
    ready = threading.Event()

    def call(job):
        ready.wait(10)
        return job.watch(refiner).refine(*large_pair())

    jobs.append(queue.submit(call))
    ready.set()
    with pytest.raises(CancelledError):
        jobs[0].result(10)
    assert len(network.passes) == at
    assert jobs[0].text == 'cancelled'
    refiner.refine(*large_pair())  # the refiner itself goes on
    assert len(network.passes) > at + 9


def test_a_refinement_that_takes_too_long_runs_no_pass_more():
    network = Counting(lambda count: count == 4 and time.sleep(0.6))
    refiner = refiner_of(network)
    with JobQueue(size=2, threads=1, time_limit=0.5) as queue:
        late = queue.submit(lambda job: job.watch(refiner).refine(*large_pair()))
        waiting = queue.submit(lambda job: time.sleep(0.1) or job.check())
        with pytest.raises(TimeLimitError, match='longer than 0.5 seconds.*--time-limit'):
            late.result(10)
        assert len(network.passes) == 4 and late.text == 'failed'
        waiting.result(10)  # waiting does not count


@pytest.mark.parametrize('strategy', ['scene', 'semantic'])
def test_label_maps_are_cancelled_in_the_middle_of_a_class(queue, strategy):
    jobs, ready = [], threading.Event()
    network = Counting(lambda count: count == 5 and jobs[0].cancel())
    image, mask = large_pair()

    def call(job):
        ready.wait(10)
        return job.watch(refiner_of(network)).refine_semantic(image, mask * 2, strategy)

    jobs.append(queue.submit(call))
    ready.set()
    with pytest.raises(CancelledError):
        jobs[0].result(10)
    assert len(network.passes) == 5


def test_memory_is_given_back_when_there_is_no_work(monkeypatch):
    given = threading.Event()
    monkeypatch.setattr(jobs, 'give_back_memory', given.set)
    monkeypatch.setattr(jobs, 'IDLE', 0.05)
    with JobQueue() as queue:
        assert given.wait(10)
        given.clear()
        queue.submit(lambda job: None).result(10)
        assert given.wait(10)
