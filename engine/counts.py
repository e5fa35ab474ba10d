"""What the step loop has done since it began."""

from __future__ import annotations

from dataclasses import dataclass, field

from .types import Priority

WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(slots=True)
class Waits:
    """How long requests waited for their first place. counts: of those that waited up to each of WAIT_S, and longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(WAIT_S) + 1))
    seconds: float = 0.0

    def note(self, seconds: float) -> None:
        """One more has a place."""
        self.counts[sum(seconds > bound for bound in WAIT_S)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Counts:
    """Totals."""

    steps: int = 0
    forward_passes: int = 0
    sequence_passes: int = 0  # the same, counted once for each sequence with a row in the pass
    prefill_tokens: int = 0  # prompt tokens computed
    cached_tokens: int = 0  # prompt tokens found in the tree instead
    output_tokens: int = 0
    drafted_tokens: int = 0  # guessed, and put through the model
    accepted_tokens: int = 0  # of those, what the model would have said
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    put_back: int = 0  # times a running sequence lost its place for lack of memory
    gave_way: int = 0  # times an offline one lost it to an online one
    overlapped_passes: int = 0  # queued behind one whose tokens were not known yet, or with nothing before them
    lockstep_passes: int = 0  # passes of a loop that overlaps that had to be settled before the next
    void_rows: int = 0  # rows of a pass computed for a sequence that had gone another way
    grammar_misses: int = 0  # times the device's tables did not know where a grammar goes
    device_waits: int = 0  # times the host waited for the device
    device_stalls: int = 0  # of these, with nothing queued for it to go on with
    waits: dict[Priority, Waits] = field(default_factory=lambda: {"online": Waits(), "offline": Waits()})
