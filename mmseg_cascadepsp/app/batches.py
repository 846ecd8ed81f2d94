"""Requests that wait together and look alike run together: one batch for a pass of all of them."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_cascadepsp.cascade import CascadeSettings, Network, Passes

#: Most requests that run together.
MOST = 4
#: Largest ``L`` of requests that run together. On CPUs a batch of larger pictures takes as long as
#: one after the other, or longer. On GPUs it bounds the memory.
CPU_L, GPU_L = 256, 900


class Kind(NamedTuple):
    """What requests that run together have in common.

    Attributes:
        model: Name of the refiner.
        settings: How its cascade runs.
        device: Where its network runs.

    Example:
        >>> Kind('lite', CascadeSettings(L=224), torch.device('cpu')).room
        4
        >>> Kind('lite', CascadeSettings(L=900), torch.device('cpu')).room
        1
    """

    model: str
    settings: CascadeSettings
    device: torch.device

    @property
    def room(self) -> int:
        """How many may run together."""
        return MOST if self.settings.L <= (CPU_L if self.device.type == 'cpu' else GPU_L) else 1


@dataclass(eq=False)
class _Pass:
    """A pass over a picture that a request waits for.

    Attributes:
        check: Raises if the request is to end.
        outcome: The outputs, or why there are none. None: it is to be computed.
    """

    network: Network
    image: Tensor
    check: Callable[[], None]
    masks: Tensor
    strides: tuple[int, ...]
    outcome: dict[int, Tensor] | BaseException | None = None


class Batch:
    """Where requests that run together, each in a thread of its own, meet before every pass.

    The last that comes computes the passes of all, those of one size as one batch. A request that
    fails, ends or is cancelled leaves the others alone. Each gets what it would get by itself, up
    to rounding.

    Args:
        members: How many requests there are. Each calls :meth:`leave` in the end.

    Example:
        >>> batch = Batch(1)
        >>> batch.leave()
    """

    def __init__(self, members: int) -> None:
        self._members = members
        self._asked: list[_Pass] = []
        # What depends on the pictures alone, for the next passes over the same ones.
        self._prepared: deque[tuple[list[Tensor], Passes]] = deque(maxlen=members)
        self._met = threading.Condition()

    def passes(self, network: Network, image: Tensor, check: Callable[[], None]) -> Passes:
        """The passes of one member over an image, see
        :meth:`~mmseg_cascadepsp.cascade.Network.for_image`.

        Args:
            network: The network, the same for all members.
            image: (B, 3, H, W), normalised.
            check: Raises if the member is to end.
        """
        return partial(self._run, network, image, check)

    def leave(self) -> None:
        """A member has ended: the others no longer wait for it."""
        with self._met:
            self._members -= 1
            self._met.notify_all()

    def _run(
        self,
        network: Network,
        image: Tensor,
        check: Callable[[], None],
        masks: Tensor,
        strides: Sequence[int],
    ) -> dict[int, Tensor]:
        mine = _Pass(network, image, check, masks, tuple(strides))
        with self._met:
            self._asked.append(mine)
            self._met.wait_for(
                lambda: mine.outcome is not None or len(self._asked) == self._members
            )
            if mine.outcome is None:
                self._compute_all()
                self._met.notify_all()
        if isinstance(mine.outcome, BaseException):
            raise mine.outcome
        return mine.outcome

    def _compute_all(self) -> None:
        asked, self._asked = self._asked, []
        groups: dict[tuple, list[_Pass]] = {}
        for each in asked:
            try:
                each.check()
            except Exception as error:
                each.outcome = error
            else:
                groups.setdefault((each.image.shape[-2:], each.strides), []).append(each)
        for group in groups.values():
            try:
                self._compute(group)
            except Exception as error:
                if len(group) == 1:
                    group[0].outcome = error
                    continue
                for each in group:  # one of them is at fault, or all need too much memory
                    try:
                        self._compute([each])
                    except Exception as own:
                        each.outcome = own

    def _compute(self, group: Sequence[_Pass]) -> None:
        images = [each.image for each in group]
        passes = self._passes_over(group[0].network, images)
        outputs = passes(_joined([each.masks for each in group]), group[0].strides)
        parts = {s: value.split([len(i) for i in images]) for s, value in outputs.items()}
        for index, each in enumerate(group):
            each.outcome = {stride: part[index] for stride, part in parts.items()}

    def _passes_over(self, network: Network, images: list[Tensor]) -> Passes:
        for known, passes in self._prepared:
            if len(known) == len(images) and all(map(_is, known, images)):
                return passes
        passes = network.for_image(_joined(images))
        self._prepared.append((images, passes))
        return passes


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _is(a: Tensor, b: Tensor) -> bool:
    return a is b
