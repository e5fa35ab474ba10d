"""What the engine has done and what it holds, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .counts import WAIT_S
from .tiers import tier_stats
from .types import Priority

if TYPE_CHECKING:
    from ..grammar.generations import Generations
    from .step import StepLoop


class WaitStats(msgspec.Struct, frozen=True):
    """How long requests waited for their first place in memory: how many up to each of the bounds (seconds), and, last,
    how many longer."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float  # all together


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine has done since it started, and what it holds at this moment."""

    steps: int = 0
    forward_passes: int = 0
    sequence_passes: int = 0  # the same, counted once for each request with a row in the pass
    prefill_tokens: int = 0  # prompt tokens computed
    cached_tokens: int = 0  # prompt tokens found in the tree instead
    output_tokens: int = 0
    drafted_tokens: int = 0  # guessed ahead of the model, and put through it
    accepted_tokens: int = 0  # of those, what it would have said
    requests_finished: int = 0
    requests_cancelled: int = 0
    requests_failed: int = 0
    put_back: int = 0  # times a running request lost its place for lack of memory
    gave_way: int = 0  # times an offline one lost it to an online one
    overlapped_passes: int = 0  # on a device: passes queued before the one before them was settled
    lockstep_passes: int = 0  # there, passes that needed the host before the next could be queued
    void_rows: int = 0  # rows of overlapped passes computed for a request that had gone another way
    grammar_misses: int = 0  # times the device's grammar tables did not know what the host had to look up
    device_waits: int = 0  # times the host waited for a pass that overlaps
    device_stalls: int = 0  # of these, with nothing queued behind it
    waits: dict[Priority, WaitStats] = {}
    prompt_tokens: int = 0  # prompt tokens the last pass had room for, beside what was decoding
    running: int = 0
    waiting: int = 0
    compiling: int = 0  # requests whose constraint is being compiled
    pages_total: int = 0
    pages_free: int = 0
    pages_cached: int = 0  # held by the tree
    pages_locked: int = 0  # of those, read by running requests
    host_tier_tokens: int = 0  # tokens of cached_tokens that were read back from host memory
    disk_tier_tokens: int = 0  # and those read back from files
    host_tier_bytes: int = 0  # of prefixes in host memory beside the pages
    disk_tier_bytes: int = 0  # of this model's prefixes in files
    disk_tier_written_bytes: int = 0
    grammar_rows: int = 0  # rows in the tables of allowed tokens
    grammar_bytes: int = 0  # memory of compiled constraints, partly estimated
    grammar_generations: int = 0  # sets of compiled constraints: one, and others that requests still use
    grammar_recompiled: int = 0  # constraints in use before this start, compiled before requests came with them


def stats_of(loop: StepLoop, generations: Generations | None, compiling: int) -> EngineStats:
    """As of now. generations: of compiled constraints; None: there are no constraints.  compiling: see EngineStats."""
    live = generations.live if generations else []
    counts, places, memory, tree = loop.counts, loop.places, loop.model.memory, loop.prefixes.tree
    return EngineStats(
        steps=counts.steps,
        forward_passes=counts.forward_passes,
        sequence_passes=counts.sequence_passes,
        prefill_tokens=counts.prefill_tokens,
        cached_tokens=counts.cached_tokens,
        output_tokens=counts.output_tokens,
        drafted_tokens=counts.drafted_tokens,
        accepted_tokens=counts.accepted_tokens,
        requests_finished=counts.finished,
        requests_cancelled=counts.cancelled,
        requests_failed=counts.failed,
        put_back=counts.put_back,
        gave_way=counts.gave_way,
        overlapped_passes=counts.overlapped_passes,
        lockstep_passes=counts.lockstep_passes,
        void_rows=counts.void_rows,
        grammar_misses=counts.grammar_misses,
        device_waits=counts.device_waits,
        device_stalls=counts.device_stalls,
        waits={kind: WaitStats(WAIT_S, tuple(each.counts), each.seconds) for kind, each in counts.waits.items()},
        prompt_tokens=loop.prompt_tokens,
        running=len(places.running),
        waiting=len(places.waiting),
        compiling=compiling,
        pages_total=memory.total_pages,
        pages_free=memory.free_pages,
        pages_cached=tree.cached_pages,
        pages_locked=tree.locked_pages,
        **tier_stats(loop.prefixes.tiers),
        grammar_rows=sum(len(each.automaton.rows) for each in live),
        grammar_bytes=generations.nbytes if generations else 0,
        grammar_generations=len(live),
    )
