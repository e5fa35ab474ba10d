"""Decoding steps as CUDA graphs: one launch instead of hundreds, at a ladder of sizes captured at start.

A graph repeats the very same launches on the very same memory. So a step's arrays are copied into arrays of a fixed
size, whose surplus means nothing: tokens that are written nowhere and units without readers. Steps that do not fit any
size, and steps with prompts in them, run as they are.

On other devices the "graph" is a call of the same function on the same fixed arrays: what is done is the same, only
slower than without; that is for tests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .kernels.tree_attention import UNIT_FIELDS, Units
from .paged_plan import Composition, Room
from .paged_step import HostArrays, StepArrays, pinned

log = logging.getLogger(__name__)

Run = Callable[[StepArrays, torch.Tensor], torch.Tensor]
"""The arrays of a step to the logits of its logit rows, (m, vocab) float32, written to the first rows of a tensor."""


def ladder(most_tokens: int) -> list[int]:
    """Numbers of tokens for which graphs are captured, ascending: 1, 2, 4, 8, 16, then in steps of an eighth to a
    quarter of the size."""
    sizes = [1, 2, 4, 8]
    step = 8
    while sizes[-1] < most_tokens:
        sizes.append(sizes[-1] + step)
        if sizes[-1] >= 16 * step // 2:
            step *= 2
    return sorted({min(size, most_tokens) for size in sizes})


def fits(host: HostArrays, room: Room) -> bool:
    """Whether the step can run in a graph with this room."""
    made = host.composition
    if made is None or host.prompt_arrays is not None:
        return False
    sizes = len(host.ids), made.n_wide, len(made.units) - made.n_wide, len(made.pages), len(made.readers)
    return all(size <= most for size, most in zip(sizes, room, strict=True)) and len(host.logit_rows) <= room.tokens


class Graphs:
    """The graphs of a model. run: reads nothing but the arrays it is given and what stays where it is.

    rooms: of the graphs to be made.
    most_bytes: memory that recording may take. Sizes are recorded from the largest down, for they share memory; one
    that takes more is given up, as is one whose recording fails: steps of its size run in the next larger one, or as
    they are.
    """

    def __init__(self, run: Run, device: torch.device, rooms: Sequence[Room], most_bytes: int, vocab_size: int) -> None:
        self._captured: dict[int, _Captured] = {}
        self.replayed = 0  # steps that ran in a graph
        self.given_up: dict[int, str] = {}  # by number of tokens: why there is no graph
        recorder = _Recorder(device)
        room_of = {room.tokens: room for room in rooms}
        fitting = [size for size in room_of if 4 * vocab_size * size <= most_bytes]
        self.given_up |= dict.fromkeys(sorted(set(room_of) - set(fitting)), "there is no memory for its logits")
        logits = torch.zeros((max(fitting, default=0), vocab_size), device=device)  # of all sizes alike
        for size in sorted(fitting, reverse=True):
            taken = recorder.taken()
            made = _Captured(run, room_of[size], device, logits[:size])
            why = made.record(recorder)
            if why is None and taken < recorder.taken() > most_bytes:
                why = f"with it all would take {recorder.taken() >> 20} MiB, where {most_bytes >> 20} are given"
            if why is None:
                self._captured[size] = made
                continue
            self.given_up[size] = why
            made.forget()
            recorder.start_over(is_empty=not self._captured)
        if self.given_up:
            which = ", ".join(map(str, sorted(self.given_up)))
            log.warning("no graphs for steps of %s tokens: %s", which, next(iter(self.given_up.values())))

    @property
    def sizes(self) -> list[int]:
        """The numbers of tokens there are graphs for."""
        return sorted(self._captured)

    def room_of(self, n_tokens: int) -> Room | None:
        """What a step of so many tokens has to fit in to run in a graph; None: there is none for so many."""
        size = self._size_for(n_tokens)
        return None if size is None else self._captured[size].room

    def replay(self, host: HostArrays) -> torch.Tensor | None:
        """The logits of the step's logit rows, good until the next replay; None: it fits no graph."""
        size = self._size_for(len(host.ids))
        if size is None or not fits(host, self._captured[size].room):
            return None
        self.replayed += 1
        return self._captured[size].replay(host)[: len(host.logit_rows)]

    def _size_for(self, n_tokens: int) -> int | None:
        return next((size for size in self.sizes if size >= n_tokens), None)


class _Recorder:
    """How graphs are recorded: the stream that all of them are recorded on, and the memory they share.

    One stream for all, since each stream that products run on keeps a workspace of its own for good.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_card = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._is_card else None
        self._pool = torch.cuda.graph_pool_handle() if self._is_card else None
        self._free_before = _free_bytes(device)

    def taken(self) -> int:
        """Bytes of the device that were free before the first recording, and are not now."""
        return self._free_before - _free_bytes(self._device)

    def start_over(self, *, is_empty: bool) -> None:
        """After a recording was given up. is_empty: no graph holds the shared memory; it may not be used again then."""
        if self._is_card:
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()
            self._pool = torch.cuda.graph_pool_handle() if is_empty else self._pool

    def record(self, run: Callable[[], object]) -> torch.cuda.CUDAGraph | None:
        """The graph of what run launches; None: there are no graphs on this device.

        Kernels are compiled and libraries make their workspaces in a first run, outside of the recording.
        """
        if self._stream is None:
            return None
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                run()
            current.wait_stream(self._stream)
            torch.cuda.synchronize(self._device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._stream,
                capture_error_mode="thread_local",  # what other threads do is no concern of it
            ):
                run()
        finally:
            torch.cuda.set_stream(current)  # a recording that fails at its end leaves the other
        return graph


class _Captured:
    """One size. What changes with every step, and what holds as long as its composition, stand in a buffer each."""

    def __init__(self, run: Run, room: Room, device: torch.device, logits: torch.Tensor) -> None:
        self.room = room
        self._logits = logits
        self._device = device
        self._run = run
        n_units = room.wide + room.narrow
        steps = [room.tokens] * 5 + [n_units * len(UNIT_FIELDS)]
        lists = [room.tokens, room.tokens, room.readers, room.readers, room.pages]
        self._step = torch.zeros(sum(steps), dtype=torch.int32, device=device)
        self._lists = torch.zeros(sum(lists), dtype=torch.int32, device=device)
        ids, positions, self._rows, logit_rows, sources, units = self._step.split(steps)
        self._rows.fill_(-1)
        sources.fill_(-1)
        starts, stops, readers, order, pages = self._lists.split(lists)
        tree = Units(units.view(n_units, -1), room.wide, pages, readers, starts, stops, order)
        self._arrays = StepArrays(ids, positions, self._rows, logit_rows, sources, tree, None)
        self._loaded: Composition | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def record(self, recorder: _Recorder) -> str | None:
        """Why there is no graph of it; None: there is."""
        try:
            self._graph = recorder.record(self._call)
        except Exception as error:
            first: BaseException = error
            while first.__context__ is not None:  # the end of a recording fails too, and says less
                first = first.__context__
            return f"{type(first).__name__}: {first}".splitlines()[0]
        return None

    def forget(self) -> None:
        """Give the graph's memory back."""
        if self._graph is not None:
            self._graph.reset()
            self._graph = None

    def replay(self, host: HostArrays) -> torch.Tensor:
        self._load(host)
        if self._graph is None:
            self._call()
        else:
            self._graph.replay()
        return self._logits

    def _call(self) -> None:
        self._run(self._arrays, self._logits)

    def _load(self, host: HostArrays) -> None:
        """Copy a step in, in two copies at most. Surplus: ids 0 at position 0, written nowhere, reading nothing."""
        made, room = host.composition, self.room
        assert made is not None
        units = np.zeros((room.wide + room.narrow, len(UNIT_FIELDS)), dtype=np.int32)
        units[: made.n_wide] = made.units[: made.n_wide]
        units[room.wide : room.wide + len(made.units) - made.n_wide] = made.units[made.n_wide :]
        per_token = [(host.ids, 0), (host.positions, 0), (host.rows, -1), (host.logit_rows, 0), (host.sources, -1)]
        step = [_filled(row, room.tokens, surplus) for row, surplus in per_token]
        self._step.copy_(pinned([*step, units], self._device), non_blocking=True)
        if made is not self._loaded:
            self._loaded = made
            lists = (made.starts, room.tokens), (made.stops, room.tokens), (made.readers, room.readers)
            filled = [_filled(row, size, 0) for row, size in (*lists, (made.order, room.readers))]
            flat = pinned([*filled, made.pages], self._device)  # pages behind those are in no unit
            self._lists[: len(flat)].copy_(flat, non_blocking=True)


def _filled(row: np.ndarray, size: int, surplus: int) -> np.ndarray:
    return np.concatenate([row, np.full(size - len(row), surplus, dtype=np.int32)])


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
