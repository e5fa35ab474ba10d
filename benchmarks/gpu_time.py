"""Times on a device, and the two ceilings they are held against: bytes copied and products made in a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch

_FLUSH_BYTES = 256 << 20  # more than any card's cache


class Ceilings(NamedTuple):
    """What this card does at best, measured: bytes per second (read and written), bf16 operations per second."""

    bytes_s: float
    flops_s: float

    def floor_ms(self, n_bytes: float, flops: float = 0.0) -> float:
        """No kernel that moves so much and calculates so much can be faster."""
        return 1e3 * max(n_bytes / self.bytes_s, flops / self.flops_s)


def median_ms(run: Callable[[], object], device: torch.device, *, seconds: float = 0.3, least: int = 5) -> float:
    """The median time of one run, by events of the device, its caches flushed between runs; the first two not counted.

    On the CPU by the clock: there it only shows that everything runs.
    """
    run()
    if device.type != "cuda":
        began = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - began)
    run()
    flush = torch.empty(_FLUSH_BYTES // 4, dtype=torch.int32, device=device)
    torch.cuda.synchronize(device)
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < deadline and len(times) < 200):
        flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return median(times)


def measure_ceilings(device: torch.device, size: int = 8192) -> Ceilings:
    """A copy of `size` squared times 64 bytes, and a product of bf16 matrices of that size, on random data."""
    source = torch.randint(-(2**31), 2**31 - 1, (16, size, size), dtype=torch.int32, device=device)
    target = torch.empty_like(source)
    copy_ms = median_ms(lambda: target.copy_(source), device)
    moved = 2 * source.numel() * source.element_size()
    a, b = torch.randn(2, size, size, device=device).bfloat16()
    product_ms = median_ms(lambda: a @ b, device)
    return Ceilings(moved / copy_ms * 1e3, 2 * size**3 / product_ms * 1e3)
