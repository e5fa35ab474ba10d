"""Results on their way from the device to the host, and the one place where the host may wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from .counts import Counts


class Arrival(Protocol):
    """A tensor that is being copied to the host."""

    def is_there(self) -> bool:
        """Whether the copy is complete. Never waits."""
        ...

    def wait(self) -> None:
        """Until it is."""
        ...

    def array(self) -> np.ndarray:
        """The copy; once it is there."""
        ...


Send = Callable[[torch.Tensor], Arrival]
"""Begins a copy, behind all that is queued; the host goes on."""


class Sent:
    """An Arrival: one copy to pinned memory, and an event behind it. On the CPU it is there at once."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._host = tensor
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def is_there(self) -> bool:
        """See Arrival."""
        return self._event is None or self._event.query()

    def wait(self) -> None:
        """See Arrival."""
        if self._event is not None:
            self._event.synchronize()

    def array(self) -> np.ndarray:
        """See Arrival."""
        return self._host.numpy()


def receive(arrival: Arrival, counts: Counts, *, work_behind: bool) -> np.ndarray:
    """What has arrived. Nowhere else does a loop that overlaps wait for the device.

    work_behind: whether more work is queued behind it. With it, the device goes on while the host waits; without, it
    has nothing to do from then until the host has queued the next pass.
    """
    if not arrival.is_there():
        counts.device_waits += 1
        counts.device_stalls += not work_behind
        arrival.wait()
    return arrival.array()
