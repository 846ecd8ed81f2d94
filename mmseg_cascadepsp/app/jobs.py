"""A bounded queue with one worker: calls wait their turn, say how far they are, and can be given
up. A refinement keeps all cores busy, so that two at once would only share them. What pays is to
take them together where the network takes both as one batch (:mod:`.batches`).
"""

import copy
import math
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.cascade import Network, Passes
from mmseg_cascadepsp.compat.memory import give_back_memory
from mmseg_cascadepsp.errors import BusyError, TimeLimitError

from .batches import Batch, Kind

#: Seconds without work after which memory is given back.
IDLE = 5

_current: ContextVar['Job | None'] = ContextVar('job of this thread', default=None)


class Job:
    """A call that waits, runs, or has ended. :meth:`JobQueue.submit` makes it.

    Attributes:
        kind: What it may run together with, see :meth:`JobQueue.submit`.
        share: How much of it is done, from 0 to 1. It never falls.
        text: The same in words: ``'waiting'``, ``'running'``, ``'3 of 12'``, ``'done'``,
            ``'failed'`` or ``'cancelled'``.
        warnings: What the call warned of, a sentence each.

    Example:
        >>> from mmseg_cascadepsp.app.jobs import JobQueue
        >>> with JobQueue() as queue:
        ...     job = queue.submit(lambda job: job.report(1, 2) or job.share)
        ...     job.result(), job.text
        (0.5, 'done')
    """

    def __init__(
        self,
        call: Callable[['Job'], Any],
        kind: Kind | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.kind = kind
        self.share = 0.0
        self.text = 'waiting'
        self.warnings: list[str] = []
        self.future: Future = Future()
        self._call: Callable[[Job], Any] | None = call
        self._stopped = threading.Event()
        self._time_limit, self._end_at = time_limit, math.inf
        self._batch: Batch | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended.

        Args:
            timeout: Seconds to wait at most. None: as long as it takes.

        Returns:
            Whether it has ended.
        """
        try:
            self.future.exception(timeout)
        except FutureTimeoutError:
            return self.future.done()
        except CancelledError:
            pass
        return True

    def result(self, timeout: float | None = None) -> Any:
        """What the call returned. It waits for it, and raises what the call raised.

        Args:
            timeout: See :meth:`wait`.

        Raises:
            concurrent.futures.CancelledError: The job was cancelled.
            concurrent.futures.TimeoutError: It has not ended in time.
        """
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Give the job up: one that waits never starts, one that runs ends before the network's
        next pass over a crop.
        """
        self._stopped.set()
        if self.future.cancel():
            self._call, self.text = None, 'cancelled'

    def check(self) -> None:
        """Raise ``CancelledError`` if the job has been cancelled, and ``TimeLimitError`` if it has
        run for longer than it may.
        """
        if self._stopped.is_set():
            raise CancelledError
        if time.monotonic() > self._end_at:
            raise TimeLimitError(
                f'the refinement takes longer than {self._time_limit:g} seconds, which are the '
                'limit; give a smaller photo, ask for less (L, fast), or start the server with a '
                'larger --time-limit.'
            )

    def report(self, done: int, total: int) -> None:
        """Note how far the call is, unless the job has been cancelled.

        Args:
            done: Crops or parts that are done.
            total: Crops or parts to do.
        """
        self.check()
        # A call may count anew, in the next region or at the next scale.
        self.share, self.text = max(self.share, done / max(total, 1)), f'{done} of {total}'

    def watch(self, refiner: Refiner) -> Refiner:
        """The same refiner, network shared, that reports to this job and stops with it.

        Args:
            refiner: A refiner, which stays as it is.

        Returns:
            Its copy, to be used in the job's call.
        """
        watched = copy.copy(refiner)
        watched.progress = self.report
        watched.network = _Checked(refiner.network, self.check, self._batch)
        return watched

    def _run(self, batch: Batch | None = None) -> None:
        """Call it, in the thread of the caller; ``batch`` has those that run together with it."""
        call, self._call = self._call, None
        if call is None or not self.future.set_running_or_notify_cancel():
            return
        self.text, self._batch = 'running', batch
        if self._time_limit is not None:
            self._end_at = time.monotonic() + self._time_limit
        _current.set(self)
        try:
            result = call(self)
            self.check()
        except BaseException as error:
            call = None
            self.text = 'cancelled' if isinstance(error, CancelledError) else 'failed'
            self._end(error)
        else:
            self.share, self.text = 1.0, 'done'
            self.future.set_result(result)
        finally:
            _current.set(None)

    def _end(self, error: BaseException) -> None:
        """End with an error that keeps its traceback, but no pictures in it."""
        link: BaseException | None = error
        while link is not None:
            traceback.clear_frames(link.__traceback__)
            link = link.__cause__ or link.__context__
        self.future.set_exception(error)


@contextmanager
def _noting_warnings() -> Iterator[None]:
    """Warnings go to the job whose thread warns."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            if (job := _current.get()) is None:
                show(message, category, *args, **kwargs)
            elif category is UserWarning:
                job.warnings.append(str(message))

        warnings.simplefilter('always', UserWarning)
        warnings.showwarning = note
        yield


class JobQueue:
    """Calls that run in turn, or together where they are of one kind and wait together.

    Args:
        size: How many calls may wait beside the one that runs.
        threads: Cores that a call uses. None: as torch is set.
        time_limit: Seconds that a call may run. One that takes longer ends before the network's
            next pass over a crop. None: as long as it takes.

    Raises:
        ValueError: One of them is not positive.

    Example:
        >>> with JobQueue(size=2) as queue:
        ...     job = queue.submit(lambda job: 6 * 7)
        ...     job.result()
        42
    """

    def __init__(
        self, size: int = 16, threads: int | None = None, time_limit: float | None = None
    ) -> None:
        for name, value in {'size': size, 'threads': threads, 'time_limit': time_limit}.items():
            if value is not None and not value > 0:
                raise ValueError(f'{name} must be positive, got {value}')
        self.size, self._time_limit = size, time_limit
        self._threads = threads or torch.get_num_threads()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._seconds = 1.0  # that a call takes, as the last ones say
        self._closed = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name='refiner', daemon=True)
        self._worker.start()

    def submit(self, call: Callable[[Job], Any], kind: Kind | None = None) -> Job:
        """Put a call into the queue.

        Args:
            call: It is called with its own job, in a thread of the queue.
            kind: What it refines with. Calls of one kind that wait run together, as many as its
                ``room``. None: the call runs alone.

        Returns:
            The job.

        Raises:
            BusyError: As many calls wait as may, or the queue is closed.
        """
        job = Job(call, kind, self._time_limit)
        with self._changed:
            self._drop_cancelled()
            if self._closed:
                raise BusyError('the server is being shut down.', retry_after=10)
            if len(self._waiting) >= self.size:
                seconds = math.ceil(min(max(self._seconds * len(self._waiting), 1), 600))
                raise BusyError(
                    f'{len(self._waiting)} requests wait already, and no more may: try again in '
                    f'about {seconds} seconds.',
                    retry_after=seconds,
                )
            self._waiting.append(job)
            self._changed.notify()
        return job

    def waiting(self) -> int:
        """How many calls wait, without the one that runs."""
        with self._changed:
            self._drop_cancelled()
            return len(self._waiting)

    def close(self) -> None:
        """Cancel all jobs and end the thread."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *self._running):
                job.cancel()
            self._changed.notify()
        self._worker.join()

    def __enter__(self) -> 'JobQueue':
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _has_work(self) -> bool:
        self._drop_cancelled()
        return bool(self._waiting) or self._closed

    def _drop_cancelled(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job.future.cancelled())

    def _taken(self) -> list[Job]:
        """The first call that waits, and those that run together with it."""
        first = self._waiting.popleft()
        taken = [first]
        if first.kind is not None:
            alike = [job for job in self._waiting if job.kind == first.kind]
            taken += alike[: first.kind.room - 1]
        self._waiting = deque(job for job in self._waiting if job not in taken)
        return taken

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # it holds for the thread that sets it
        while True:
            with self._changed:
                self._running = []  # or ended jobs would keep their pictures until the next
                if not self._changed.wait_for(self._has_work, IDLE):
                    give_back_memory()
                    self._changed.wait_for(self._has_work)
                if self._closed:
                    return
                self._running = self._taken()
            start = time.monotonic()
            with _noting_warnings():
                if len(self._running) == 1:
                    self._running[0]._run()
                else:
                    self._run_together(self._running)
            seconds = (time.monotonic() - start) / len(self._running)
            self._seconds += 0.2 * (seconds - self._seconds)

    def _run_together(self, jobs: list[Job]) -> None:
        batch = Batch(len(jobs))

        def run(job: Job) -> None:
            torch.set_num_threads(self._threads)
            try:
                job._run(batch)
            finally:
                batch.leave()

        threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class _Checked(Network):
    """A network that calls ``check`` before each of its passes, which may raise, and meets others
    in their batch, if there is one.
    """

    def __init__(
        self, network: Network, check: Callable[[], None], batch: Batch | None = None
    ) -> None:
        self._network, self._check, self._batch = network, check, batch
        self.strides, self.device = network.strides, network.device
        self.defaults = network.defaults

    def normalize(self, image: Tensor) -> Tensor:
        return self._network.normalize(image)

    def for_image(self, image: Tensor) -> Passes:
        self._check()
        if self._batch is not None:
            passes = self._batch.passes(self._network, image, self._check)
        else:
            passes = self._network.for_image(image)

        def run(masks: Tensor, strides: tuple[int, ...]) -> dict[int, Tensor]:
            self._check()
            return passes(masks, strides)

        return run

    def describe(self) -> dict[str, str]:
        return self._network.describe()
