"""The requests without a place in memory, and the order in which they get one.

1. Those put back that are online, then those passed over too often, oldest first.
2. Online ones, longest cached prefix first (Zheng et al., SGLang, arXiv:2312.07104: with requests at hand that is the
   order of a depth-first walk of the tree, and computes least).
3. Offline ones put back, then offline ones in the order of that walk itself, which is the order of their token ids:
   prompts that share a prefix stand next to each other, however the tree looks now and however much it forgets
   meanwhile. Who comes too late for this walk takes part in the next.

Passed over: by a request that came later. An online one too often after `overtaken` of those, an offline one after
`overtaken_offline` online ones; it is treated as online from then on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from .limits import Limits
from .running import Sequence

_MOST_IN_WALK = 65536  # a walk takes in no more who come while it lasts, so that it ends
_Prompt = tuple[str, tuple[int, ...]]  # namespace and ids


@dataclass(slots=True, order=True)
class _Entry:
    """A request in line. walk: the walk of the tree it takes part in, 0 where online.

    ahead: of its priority, who waited when it came.  left, online_left: who had left the line by then, of its
    priority and of the online ones.
    """

    walk: int
    prompt: _Prompt
    number: int
    sequence: Sequence = field(compare=False)
    ahead: int = field(compare=False)
    left: int = field(compare=False)
    online_left: int = field(compare=False)


class Waiting:
    """Owned by the step loop. A request stands in it once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._put_back: dict[int, Sequence] = {}
        self._lines: tuple[dict[int, _Entry], dict[int, _Entry]] = ({}, {})  # offline, online; in order of arrival
        self._left = [0, 0]
        self._sorted: list[_Entry] = []  # offline
        self._walk = 1
        self._n_in_walk = 0
        self._reached: _Prompt = ("", ())
        self._n_added = 0

    def __len__(self) -> int:
        return len(self._put_back) + len(self._lines[0]) + len(self._lines[1])

    def __contains__(self, key: int) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: int) -> Sequence:
        sequence = self.get(key)
        if sequence is None:
            raise KeyError(key)
        return sequence

    def get(self, key: int) -> Sequence | None:
        """The request, if it waits."""
        for line in self._lines:
            if key in line:
                return line[key].sequence
        return self._put_back.get(key)

    def values(self) -> Iterator[Sequence]:
        """All who wait: those put back, online ones, offline ones."""
        lines = (entry.sequence for line in self._lines[::-1] for entry in line.values())
        return chain(self._put_back.values(), lines)

    # -- coming and going -------------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """A new request, at the end."""
        self._n_added += 1
        line = self._lines[sequence.online]
        prompt = sequence.request.namespace, sequence.request.prompt_ids
        entry = _Entry(
            walk=0 if sequence.online else self._walk_for(prompt),
            prompt=prompt,
            number=self._n_added,
            sequence=sequence,
            ahead=len(line),
            left=self._left[sequence.online],
            online_left=self._left[True],
        )
        line[sequence.key] = entry
        if not sequence.online:
            insort(self._sorted, entry)

    def _walk_for(self, prompt: _Prompt) -> int:
        if not self._sorted:
            self._begin_walk(self._walk + 1)
            return self._walk
        if prompt < self._reached or self._n_in_walk >= _MOST_IN_WALK:
            return self._walk + 1
        self._n_in_walk += 1
        return self._walk

    def _begin_walk(self, walk: int) -> None:
        self._walk, self._n_in_walk, self._reached = walk, 0, ("", ())

    def put_back(self, sequence: Sequence) -> None:
        """One that had a place; it comes before others of its priority."""
        self._put_back[sequence.key] = sequence

    def pop(self, key: int) -> Sequence | None:
        """Take a request out; None when it does not wait."""
        for online, line in enumerate(self._lines):
            entry = line.pop(key, None)
            if entry is not None:
                self._left[online] += 1
                if not online:
                    del self._sorted[bisect_left(self._sorted, entry)]
                return entry.sequence
        return self._put_back.pop(key, None)

    # -- order ------------------------------------------------------------------------------------------------

    def in_order(self, n_cached: Callable[[Sequence], int]) -> Iterator[tuple[Sequence, int]]:
        """Who should start, best first, each with n_cached, its tokens in the tree. Made as far as it is read.

        Of the online ones the oldest `look_ahead` are ordered, and as many offline ones are shown.
        """
        back = sorted(self._put_back.values(), key=lambda each: each.key)
        aged = self._aged()
        keys = {each.key for each in aged}
        most = self._limits.look_ahead
        for sequence in chain((each for each in back if each.online), aged):
            yield sequence, n_cached(sequence)
        young = (each.sequence for key, each in self._lines[True].items() if key not in keys)
        looked_up = [(sequence, n_cached(sequence)) for sequence in islice(young, most)]
        yield from sorted(looked_up, key=lambda pair: -pair[1])
        self._note_walk()
        walk = (each.sequence for each in self._sorted if each.sequence.key not in keys)
        for sequence in chain((each for each in back if not each.online), islice(walk, most)):
            yield sequence, n_cached(sequence)

    def _note_walk(self) -> None:
        """Where the walk has come to: the first who still waits."""
        if self._sorted:
            first = self._sorted[0]
            if first.walk > self._walk:
                self._begin_walk(first.walk)
            self._reached = first.prompt

    def _aged(self) -> list[Sequence]:
        """Those passed over too often, oldest first; offline ones are online from now on.

        Who is older has been passed over at least as often, so these are the first of each line.
        """
        aged: list[_Entry] = []
        for rank, entry in enumerate(self._lines[True].values()):
            older_left = entry.ahead - rank
            if self._left[True] - entry.left - older_left < self._limits.overtaken:
                break
            aged.append(entry)
        for entry in self._lines[False].values():
            if self._left[True] - entry.online_left < self._limits.overtaken_offline:
                break
            entry.sequence.promote()
            aged.append(entry)
        return [entry.sequence for entry in sorted(aged, key=lambda each: each.number)]
