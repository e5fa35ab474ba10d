"""Which tokens are allowed at a place, where compiled loops need help.

Most masks are made by one loop through all frames (`frame_kernels`, called by `miss_kernels`). Wide walks that were
never made are made here, and kept, as many places share them (`parts`); what is not known is found. Places with
captured texts, and those that are too ambiguous, are done by themselves.
"""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import frame_kernels as loops
from . import kernels
from .addresses import Addresses
from .capture_masks import CaptureMasks
from .crossings import Crossings
from .dfa import APART, SPLITS
from .part import Part
from .parts import FAR, Parts
from .places import NO_UNIT, Frames, Path, Place
from .sequences import Sequences
from .stacks import LEVELS, Reader, Stacks
from .texts import NO_TEXT
from .trie import union
from .vocab import Vocabulary
from .walker import Walker
from .wide import WideWalks
from .work import tick

FEW_NODES, MANY_BYTES = 512, 32
"""See `frame_kernels.is_wide`."""

_ROOT = np.zeros(1, np.int32)
_MOST_FRAMES = 4096
_MOST_ITEMS = 1 << 16


class Masks:
    """Makes masks for one vocabulary."""

    def __init__(
        self,
        frames: Frames,
        walker: Walker,
        crossings: Crossings,
        stacks: Stacks,
        sequences: Sequences,
        vocabulary: Vocabulary,
        addresses: Addresses,
    ) -> None:
        self._addresses = addresses
        self._frames = frames
        self._walker = walker
        self._crossings = crossings
        self._stacks = stacks
        self._sequences = sequences
        self._vocabulary = vocabulary
        self.parts = Parts(frames, walker, vocabulary, WideWalks(addresses))
        self._captures = CaptureMasks(self.parts, frames, vocabulary)
        self._eos = np.array(vocabulary.eos_ids, np.int32)
        self._words = np.zeros(vocabulary.words, np.uint32)
        self._contexts = np.zeros((_MOST_FRAMES, 8), np.int32)
        self._items = np.zeros((_MOST_ITEMS, 5), np.int32)
        self._put_off = np.zeros((_MOST_ITEMS, 5), np.int32)
        self._missing = np.zeros((_MOST_ITEMS, 5), np.int32)
        self._tally = np.zeros(6, np.int64)
        addresses.put(ak.FRAMES, self._contexts, self._items, self._put_off, self._missing, self._words, self._tally)
        addresses.put(ak.LIMITS, np.array([FEW_NODES, MANY_BYTES, vocabulary.max_token_bytes], np.int64))
        addresses.put(ak.EOS, self._eos)
        addresses.put(ak.CHILD_START, *vocabulary.trie)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self.parts.nbytes

    def mask(self, place: Place, reader: Reader) -> tuple[np.ndarray, bool]:
        """The allowed tokens as bits, (words,) uint32, EOS among them when everything may end here; and whether it may.

        For places that `miss_kernels.find_row` cannot do. The bounds of `place` count from here: a counted run goes on
        with lo to hi more units. The array is good until the next call.
        """
        words = self._words
        self._tally[loops.DEEPEST] = 0  # what was looked at in vain does not count
        if place.text != NO_TEXT or self._captures.is_begun_from(place):
            words[:] = self._captures.mask(place, reader)
        else:
            words.fill(0)
            self._walk_apart(place, reader)
        accepts = Path(self._frames, place, reader, 0, open_run=False).accepts()
        if accepts:
            kernels.set_bits(words, self._eos, self._eos, FAR)
        return words, accepts

    def accepts(self, place: Place, reader: Reader) -> bool:
        """Whether everything may end at a place."""
        return Path(self._frames, place, reader, 0, open_run=False).accepts()

    # -- walks that a loop could not finish -------------------------------------------------------------------

    def go_on(self, reader: Reader) -> bool:
        """Find what a walk did not know, and do what it put off; False: another way has to be gone."""
        tick()
        tally = self._tally
        _, _, n_put_off, n_missing, _, _ = tally.tolist()
        tally[loops.N_PUT_OFF : loops.DEEPEST] = 0
        if n_missing:
            missing = self._missing[:n_missing]
            self._find(missing)
            self._add(missing)
        if n_put_off and not self._do_put_off(self._put_off[:n_put_off], reader):
            return False
        tally[loops.DEEPEST] = max(int(tally[loops.DEEPEST]), reader.depth)
        return True

    @property
    def level(self) -> int:
        """How many levels of the stack the last mask depends on."""
        return min(int(self._tally[loops.DEEPEST]), LEVELS - 1)

    def _find(self, missing: np.ndarray) -> None:
        """Find what a walk did not know."""
        dfa, node_byte = self._frames.dfa, self._vocabulary.node_byte
        found: set[tuple[int, int]] = set()
        edges: list[tuple[int, int]] = []
        for what, node, state, about, frame in missing.tolist():
            if what == loops.EDGE:
                edges.append((state, int(node_byte[node])))
            elif (state, frame) not in found:
                found.add((state, frame))
                if about:  # the loop finds the entry by itself then
                    dfa.exprs.define_now(about)
                else:
                    self._crossings.find_entry(state, int(self._contexts[frame, loops.SEQUENCE]))
        if edges:
            dfa.find_edges(edges)

    def _add(self, items: np.ndarray) -> None:
        at = int(self._tally[loops.N_ITEMS])
        self._items[at : at + len(items)] = items
        self._tally[loops.N_ITEMS] = at + len(items)

    # -- wide walks -------------------------------------------------------------------------------------------

    def _do_put_off(self, items: np.ndarray, reader: Reader) -> bool:
        """Do the wide walks: their tokens are allowed, and what lies behind becomes items. False as `go_on`.

        Those that a loop can do when it is told what they come to are left to it: they stay put off.
        """
        nodes: dict[tuple[int, int, int], list[int]] = {}
        for _, node, state, number, frame in items.tolist():
            nodes.setdefault((state, number, frame), []).append(node)
        n_left = 0
        for (state, number, frame), starts in nodes.items():
            offered = self.parts.offer(state, number) if number >= 0 else None
            if offered is False:
                return False  # a loop knows it, but has no room for what lies behind
            if offered:
                self._put_off[n_left] = loops.START, 0, state, 0, frame
                n_left += 1
                continue
            at = self._place(state, frame)
            part = self.parts.part(state, at.unit, _ROOT if starts == [0] else np.unique(np.array(starts, np.int32)))
            if not self._do_part(part, at, frame, reader):
                return False
        self._tally[loops.N_PUT_OFF] = n_left
        return True

    def _do_part(self, part: Part, at: Place, frame: int, reader: Reader) -> bool:
        """Do a wide walk of a frame. False as `go_on`."""
        self.parts.allow(self._words, part, FAR if at.unit == NO_UNIT else at.hi)
        if part.may_end:
            first = self._first_behind(at, frame, reader)
            if first is None:
                return False
            exits = self.parts.exits_towards(part, at, first)
            if not self._put(loops.LEAVING, exits, at.local, at.lo, frame):
                return False
        return all(self._put(loops.ARRIVAL, entries, halted, 0, frame) for halted, entries in part.entries)

    def _first_behind(self, at: Place, frame: int, reader: Reader) -> int | None:
        """Mask of the bytes that may come first behind a frame; None: that depends on a captured text."""
        dfa, stacks = self._frames.dfa, self._stacks
        state = loops.find_behind(frame, stacks.arrays, self._contexts, self._tally)
        if state <= 0:
            return None if state == loops.SLOW else 0
        if dfa.may_end(state):
            behind = self._frames.leave(at, reader)
            return self._frames.first(behind, reader) if behind and behind.text == NO_TEXT else None
        return dfa.exprs.first(dfa.expression(state))

    def _place(self, state: int, frame: int) -> Place:
        unit, lo, hi, _, popped, sequence, _, _ = self._contexts[frame].tolist()
        return Place(state, unit, lo, hi, popped, self._sequences.entries(sequence))

    def _put(self, what: int, nodes: np.ndarray, state: int, count: int, frame: int) -> bool:
        """Put an item on the list for each node; False: there is no room."""
        at = int(self._tally[loops.N_ITEMS])
        end = at + len(nodes)
        if end > _MOST_ITEMS:
            return False
        rows = self._items[at:end]
        rows[:] = what, 0, state, count, frame
        rows[:, 1] = nodes
        self._tally[loops.N_ITEMS] = end
        return True

    def is_wide(self, local: int) -> bool:
        """Whether walks from the root in a state are kept."""
        trie, dfa = self._vocabulary, self._frames.dfa
        arrays = (trie.child_start, trie.child_byte, trie.child_node, trie.node_end, dfa.transitions)
        return bool(dfa.kinds[local] & APART) or loops.is_wide(0, local, *arrays, FEW_NODES, MANY_BYTES)

    # -- whatever the tables do not hold ----------------------------------------------------------------------

    def _walk_apart(self, place: Place, reader: Reader) -> None:
        """`_walk`, frame by frame, for what depends on more of the stack, or is too ambiguous."""
        todo = {place: [np.zeros(1, np.int32)]}
        while todo:
            tick()  # in an ambiguous grammar there may be more places than anybody would wait for
            at, starts = todo.popitem()
            nodes = starts[0] if len(starts) == 1 else union(self._vocabulary, starts)
            if at.unit == NO_UNIT and self._frames.dfa.kinds[at.local] & SPLITS:
                behind = [(each, nodes) for each in self._frames.dfa.split(at.local)]
            else:
                part = self.parts.part(at.local, at.unit, nodes)
                self.parts.allow(self._words, part, FAR if at.unit == NO_UNIT else at.hi)
                if part.may_end and (outside := self._frames.leave(at, reader)):
                    exits = self.parts.exits_towards(part, at, self._frames.first(outside, reader))
                    if len(exits) and outside.text != NO_TEXT:
                        self._words[:] = self._captures.mask(place, reader)
                        return
                    if len(exits):
                        todo.setdefault(outside, []).append(exits)
                behind = [(self._frames.dfa.expression(state), entries) for state, entries in part.entries]
            for expression, entries in behind:
                inside = self._frames.enter(expression, at.popped, at.pushes, reader)
                if inside.text != NO_TEXT:
                    self._words[:] = self._captures.mask(place, reader)
                    return
                todo.setdefault(inside, []).append(entries)
