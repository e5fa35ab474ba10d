"""Wide walks inside one frame, and what they have in common.

Most states in which almost everything is allowed are nearly alike: the keys besides those that are listed are any text
but a few. A walk from the root therefore takes what it has in common with an earlier wide one, its base, from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec
import numpy as np

from . import kernels, walk_kernels
from . import wide_kernels as wk
from .dfa import APART, DEAD
from .label_parts import QUOTE, OpenLabel, open_label
from .made_of import MadeOf
from .name_parts import OpenName, open_name
from .name_walks import NameWalks
from .nodes import ALL_BYTES, EMPTY, EPSILON, Kind
from .places import NO_UNIT, Frames, Place
from .punycode import BYTES
from .verbatim import Span, walk
from .vocab import Vocabulary
from .walker import Walker
from .wide import WideWalks
from .work import letting_go

_PART_BYTES_LIMIT = 256 << 20
_PART_OVERHEAD = 1000
_FEW_NODES = 1000
_FEW_TOKENS = 1024  # parts with more keep their tokens as bits, too
_WIDE = 4096  # nodes a walk has to reach, or to have in common with another, to be a base
_MOST_BASES = 12
_MOST_REACHES = 10_000
_MANY_BYTES = 32  # bytes a state has to go on with, to be wide
_MOST_TOWARDS = 50
FAR = 1 << 30
"""More units than any token has."""

_NONE = np.zeros(0, np.int32)
_ROOT = np.zeros(1, np.int32)
_ANYWHERE = Place(DEAD, NO_UNIT, 0, 0, 0, ())


class Part(msgspec.Struct, frozen=True, gc=False):  # as there are many: no work for the garbage collector
    """What a walk inside one frame came to. Arrays of int32; `counts` are the units begun on the way.

    tokens: those that end inside, with the DFA state they end in (-1: not known), fewest units first; `most_units` is
    the largest count. words: bits of the tokens, where they are many and each has one count; with a base, of those
    taken from there too.
    exits: trie nodes below which the frame may be over. shared_exits: for each node whether it is one more; None: none
    are. entries: for each DFA state at which a frame within begins, the trie nodes that come to it.
    """

    tokens: np.ndarray
    token_states: np.ndarray
    token_counts: np.ndarray
    most_units: int
    words: np.ndarray | None
    exits: np.ndarray
    exit_counts: np.ndarray
    shared_exits: SharedExits | None
    entries: tuple[tuple[int, np.ndarray], ...]
    towards: dict[tuple[int, ...], np.ndarray]  # see `exits_towards`

    @property
    def nbytes(self) -> int:
        """Memory of it, without what is shared."""
        arrays = (self.tokens, self.token_states, self.token_counts, self.exits, self.exit_counts, self.words)
        return sum(each.nbytes for each in arrays if each is not None) + sum(nodes.nbytes for _, nodes in self.entries)


class Base:
    """A wide walk from the root. exits: see `Part`; exits_by_first: by mask of bytes, those with a child by one."""

    def __init__(self, local: int, walker: Walker, words: np.ndarray, exits: np.ndarray) -> None:
        self.local = local
        self.words = words
        self.exits = exits
        self.exits_by_first: dict[int, np.ndarray] = {}
        self.longest_rest: int | None = None  # see `Parts._longest_rest`; None: nobody asked
        self._walker = walker
        self._states: np.ndarray | None = None

    @property
    def states(self) -> np.ndarray:
        """The state at each node, 0 where the walk did not come. Found when first asked for."""
        return self.find_states() if self._states is None else self._states

    def find_states(self) -> np.ndarray:
        """Find `states`."""
        self._states = self._walker.states_from(self.local)
        return self._states

    @property
    def row(self) -> tuple[int, int, int]:
        """What `wide_kernels` read of it."""
        states = 0 if self._states is None else self._states.ctypes.data
        return self.local, states, self.words.ctypes.data

    @property
    def is_walked(self) -> bool:
        """Whether its states are known."""
        return self._states is not None

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        return self.exits.nbytes + self.words.nbytes + (0 if self._states is None else self._states.nbytes)


class SharedExits(msgspec.Struct, frozen=True, gc=False):
    """The exits of a base outside of some ranges of nodes, rows (node, end), ascending."""

    base: Base
    drops: np.ndarray


class Parts:
    """Makes walks for one vocabulary. They are kept, as contexts share them, and dropped when they grow too large."""

    def __init__(self, frames: Frames, walker: Walker, vocabulary: Vocabulary, wide: WideWalks) -> None:
        self._wide = wide
        self._frames = frames
        self._walker = walker
        self._vocabulary = vocabulary
        self._parts: dict[tuple[int, int, bytes], Part] = {}
        self._bases: list[Base] = []
        self._base_locals = np.zeros(0, np.int64)
        self._limits: dict[int, tuple[int, int] | None] = {}
        self._made_of: dict[int, MadeOf] = {}
        self._labels: dict[int, OpenLabel | None] = {}
        self._names: dict[int, OpenName | None] = {}
        self._name_walks = NameWalks(self, frames.dfa, vocabulary)
        self._reaches: dict[tuple[int, bytes], int] = {}
        self._root_weights = _root_weights(vocabulary)
        self._kept_bytes = 0
        self._zeros = np.zeros(len(vocabulary.node_byte), np.int32)
        wide.put_weights(self._root_weights)

    @property
    def nbytes(self) -> int:
        """Memory of the walks that are kept."""
        return self._kept_bytes + sum(base.nbytes for base in self._bases)

    def letting_go(self) -> Iterator[None]:
        """Lets go of the walks, a bit at each step; nothing is to be asked any more. Is no reference to these parts."""
        return letting_go(self._parts)

    @staticmethod
    def allow(words: np.ndarray, part: Part, most: int) -> None:
        """Set the bits of a part's tokens with at most so many units."""
        if part.words is None:
            kernels.set_bits(words, part.tokens, part.token_counts, most)
        elif most >= part.most_units:
            words |= part.words
        else:
            allowed = part.words.copy()
            kernels.clear_bits(allowed, part.tokens[np.searchsorted(part.token_counts, most, side="right") :])
            words |= allowed

    def part(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        """The walk of one frame from given trie nodes."""
        if unit == NO_UNIT:
            local = self.walked_from(local, nodes)
        key = (local, unit, nodes.tobytes())
        known = self._parts.get(key)
        if known is None:
            known = self._walk_name(local, nodes) if unit == NO_UNIT else None
            if known is None:
                label = self.label_of(local) if unit == NO_UNIT else None
                known = self._walk(local, unit, nodes) if label is None else self.walk_label(label, nodes)
            self._parts[key] = known
            self._kept_bytes += _PART_OVERHEAD + known.nbytes
            if self._kept_bytes > _PART_BYTES_LIMIT:
                self._parts = {key: known}
                self._kept_bytes = 0
                self._wide.clear()
        return known

    def offer(self, local: int, number: int) -> bool | None:
        """Have loops know the walk from the root in a state that counts nothing, and its exits towards a set of bytes.

        False: they do; None: they cannot, as other frames begin within.
        """
        part = self.part(local, NO_UNIT, _ROOT)
        if part.entries:
            return None
        exits = _NONE
        if len(part.exits) or part.shared_exits:
            exits = self.exits_towards(part, _ANYWHERE, self._frames.exprs.mask_of(number))
        self._kept_bytes += exits.nbytes
        return self._wide.put(local, number, part.words, part.tokens, exits)

    # -- limits -----------------------------------------------------------------------------------------------

    def walked_from(self, local: int, nodes: np.ndarray) -> int:
        """The state of which the walk is that of a state: without its limit on characters, where that is far off."""
        if self._frames.dfa.kinds[local] & APART and self._name_of(local) is None and self.label_of(local) is None:
            limit = self._limit_of(local)
            if limit and limit[1] >= self._reach(limit[0], nodes):
                return limit[0]
        return local

    def _limit_of(self, local: int) -> tuple[int, int] | None:
        """Of a state in which a limit on characters stands beside conditions: the state without it, and the limit.

        None for other states.
        """
        if local in self._limits:
            return self._limits[local]
        dfa, exprs, found = self._frames.dfa, self._frames.exprs, None
        if limit := dfa.limit(local):
            member, most = limit
            others = exprs.and_(*[each for each in exprs.node(dfa.expression(local))[1] if each != member])
            found = dfa.state(self._of_any_length(others, exprs.node(member)[1])), most
        self._limits[local] = found
        return found

    def _of_any_length(self, item: int, unit: int) -> int:
        """Texts of an expression that are made of whole characters, however many."""
        exprs = self._frames.exprs
        if unit not in self._made_of:
            self._made_of[unit] = MadeOf(exprs, unit)
        return item if self._made_of[unit].holds(item) else exprs.and_(item, exprs.repeat(unit, 0, None))

    def label_of(self, local: int) -> OpenLabel | None:
        """`open_label`, remembered."""
        if local not in self._labels:
            self._labels[local] = open_label(self._frames.dfa, local) if self._may_be_open(local) else None
        return self._labels[local]

    def _name_of(self, local: int) -> OpenName | None:
        """`open_name`, remembered."""
        if local not in self._names:
            self._names[local] = open_name(self._frames.dfa, local) if self._may_be_open(local) else None
        return self._names[local]

    def _may_be_open(self, local: int) -> bool:
        """Whether a label or a name may be open in a state: both are automata."""
        dfa = self._frames.dfa
        return dfa.exprs.may_begin_with_machine(dfa.expression(local))

    def _reach(self, local: int, nodes: np.ndarray) -> int:
        """A bound on the characters that a token allowed at a place, and the shortest rest behind it, come to.

        A limit that is not below makes no difference to what is allowed.
        """
        key = (local, nodes.tobytes())
        known = self._reaches.get(key)
        if known is None:
            part = self.part(local, NO_UNIT, nodes)
            known = FAR
            if not part.entries:
                longest = int(self._vocabulary.token_bytes[part.tokens].max()) if len(part.tokens) else 0
                known = longest + self._longest_rest(part.token_states)
                base = None if part.shared_exits is None else part.shared_exits.base
                is_base = base is not None and base.local == local and len(part.tokens) > 0
                if base is not None and not is_base:  # tokens taken from the base end in its states
                    known = max(known, self._vocabulary.max_token_bytes + self._longest_in(base))
            if len(self._reaches) > _MOST_REACHES:
                self._reaches.clear()
            self._reaches[key] = known
        return known

    def _longest_in(self, base: Base) -> int:
        """`_longest_rest` of all states of a base, remembered."""
        if base.longest_rest is None:
            base.longest_rest = self._longest_rest(base.states)
        return base.longest_rest

    def _longest_rest(self, states: np.ndarray) -> int:
        """Bytes of the longest of the shortest rests from any of some states, the dead one left out."""
        dfa, exprs = self._frames.dfa, self._frames.exprs
        met = np.zeros(len(dfa), bool)
        met[states[states > DEAD]] = True
        return max((exprs.shortest_length(dfa.expression(s)) for s in np.flatnonzero(met).tolist()), default=0)

    # -- exits ------------------------------------------------------------------------------------------------

    def exits_towards(self, part: Part, at: Place, first: int) -> np.ndarray:
        """The nodes at which the frame may be over, and have a child by a byte whose bit is set in `first`."""
        key = (first, at.lo, at.hi) if at.unit != NO_UNIT else (first,)
        known = part.towards.get(key)
        if known is None:
            if len(part.towards) > _MOST_TOWARDS:
                part.towards.clear()
            known = part.towards[key] = self._exits_towards(part, at, first)
        return known

    def exits_to(self, part: Part, first: int) -> np.ndarray:
        """`exits_towards`, of a part that counts nothing."""
        return self.exits_towards(part, _ANYWHERE, first)

    def _exits_towards(self, part: Part, at: Place, first: int) -> np.ndarray:
        exits = part.exits
        if at.unit != NO_UNIT:
            exits = exits[(part.exit_counts >= at.lo) & (part.exit_counts <= at.hi)]
        if len(exits):
            exits = exits[self._walker.has_child(exits, _wanted(first))]
        if part.shared_exits is None:
            return exits
        base, drops = part.shared_exits.base, part.shared_exits.drops
        shared = base.exits_by_first.get(first)
        if shared is None:
            shared = base.exits_by_first[first] = base.exits[self._walker.has_child(base.exits, _wanted(first))]
        if len(drops):
            found = np.empty_like(shared)
            shared = found[: walk_kernels.outside(shared, drops, found)].copy()
        return np.concatenate([exits, shared]) if len(exits) else shared

    def union(self, parts: list[np.ndarray]) -> np.ndarray:
        """All nodes of several lists, ascending. (`np.unique` takes ten times as long for the many there may be.)"""
        if sum(map(len, parts)) < _FEW_NODES:
            return np.unique(np.concatenate(parts))
        found = np.zeros(len(self._vocabulary.node_byte), bool)
        for nodes in parts:
            found[nodes] = True
        return np.flatnonzero(found).astype(np.int32)

    # -- walks ------------------------------------------------------------------------------------------------

    def _walk(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        dfa = self._frames.dfa
        if dfa.kinds[local] & APART:
            node = self._frames.exprs.node(dfa.expression(local))
            if node[0] == Kind.VERBATIM:
                return self._walk_document(local, node[1], nodes)
        from_root = len(nodes) == 1 and nodes[0] == 0
        if from_root and unit == NO_UNIT and (beside := self._walk_beside(local)):
            return beside
        base, at_base = self._base_for(local, nodes, from_root) if unit == NO_UNIT else (None, None)
        if at_base is None:
            walked = self._walker.walk(local, unit, nodes, _NONE if base is None else base.states)
        else:
            walked = self._walker.walk(local, unit, nodes[~at_base])
        exits, exit_counts = walked.exits
        if local == unit if unit != NO_UNIT else dfa.may_end(local):
            exits = np.concatenate([nodes, exits])
            exit_counts = np.concatenate([np.zeros(len(nodes), np.int32), exit_counts])
        else:
            exits = exits.copy()
        if unit == NO_UNIT:
            exit_counts = self._none_begun(len(exits))
        else:  # what may follow a run begins with no byte the run goes on with
            useful = self._walker.has_child(exits, dfa.transitions[unit] == 0)
            exits, exit_counts = exits[useful], exit_counts[useful]
        entries = _grouped(walked.entries)
        if unit == NO_UNIT:
            tokens, states = walked.tokens[:2].copy()
            counts = self._none_begun(len(tokens))
        else:
            tokens, states, counts = walked.tokens
            order = np.argsort(counts.astype(np.int16), kind="stable")  # of so few bits that it sorts by them
            tokens, states, counts = tokens[order], states[order], counts[order]
        # From several nodes a token may be come to with different counts: no bit of it stands for one of them.
        one_count = unit == NO_UNIT or len(nodes) == 1
        words = self._bits(tokens) if len(tokens) > _FEW_TOKENS and base is None and one_count else None
        shared = None
        if base is not None:
            drops = walked.drops.copy() if at_base is None else self._all_but(nodes[at_base])
            words, shared = self._taken(base, drops, tokens, counts)
        elif from_root and unit == NO_UNIT and walked.reached > _WIDE and not entries and words is not None:
            below = exits > 0  # whether the frame may be over at the root is not shared
            shared = SharedExits(self._new_base(local, words, exits[below]), np.zeros((0, 2), np.int32))
            exits, exit_counts = exits[~below], exit_counts[~below]
        most = int(counts[-1]) if len(counts) else 0
        return Part(tokens, states, counts, most, words, exits, exit_counts, shared, entries, {})

    def _walk_beside(self, local: int) -> Part | None:
        """`_walk` from the root in one call, where there is a base for it; None: there is none, or it has to be asked.

        What is asked then is known for the walk that follows.
        """
        if not self._bases or not self._walker.is_compiled:
            return None
        limits = _WIDE, _MANY_BYTES
        at, walked, bits = self._walker.walk_beside(local, limits)
        if at <= wk.UNWALKED:
            _ = self._bases[wk.UNWALKED - at].states
            self._tell_bases()
        elif at == wk.ASK:
            self._frames.dfa.complete(local)
        if walked is None and at != wk.NO_BASE:
            at, walked, bits = self._walker.walk_beside(local, limits)
        if walked is None:
            return None
        exits, (tokens, states) = walked.exits[0].copy(), walked.tokens[:2].copy()
        shared = SharedExits(self._bases[at], walked.drops.copy())
        counts, exit_counts = self._none_begun(len(tokens)), self._none_begun(len(exits))
        return Part(tokens, states, counts, 0, bits.copy(), exits, exit_counts, shared, _grouped(walked.entries), {})

    def _none_begun(self, n: int) -> np.ndarray:
        """So many counts of 0, shared by all: walks that count nothing are the widest."""
        if n > len(self._zeros):
            self._zeros = np.zeros(2 * n, np.int32)
        return self._zeros[:n]

    def _base_for(self, local: int, nodes: np.ndarray, from_root: bool) -> tuple[Base | None, np.ndarray | None]:
        """The base that has most in common with a walk, if that is much.

        For nodes that are not the root, also at which of them the base is in the very same state, (n,) bool.
        """
        if not self._bases:
            return None, None
        dfa, best, most, at = self._frames.dfa, None, _WIDE, None
        if from_root:
            dfa.complete(local)
            at_best = walk_kernels.best_base(
                dfa.transitions, local, self._base_locals, self._root_weights, _WIDE, _MANY_BYTES
            )
            best = self._bases[at_best] if at_best >= 0 else None
            return best, None
        sizes = self._vocabulary.node_end[nodes] - nodes
        if int(sizes.sum()) > most:
            for base in self._bases:
                if not base.is_walked:
                    continue  # to find its states would take longer than what is shared
                same = base.states[nodes] == local
                shared = int(sizes[same].sum())
                if shared > most:
                    best, most, at = base, shared, same
        return best, at

    def _all_but(self, nodes: np.ndarray) -> np.ndarray:
        """The ranges of nodes that are not below any of `nodes`, rows (node, end)."""
        nodes = np.sort(nodes)
        ends = self._vocabulary.node_end[nodes]
        covered = np.maximum.accumulate(ends)
        outer = np.ones(len(nodes), bool)
        outer[1:] = nodes[1:] >= covered[:-1]
        nodes, ends = nodes[outer], ends[outer]
        starts = np.concatenate([[0], ends])
        stops = np.concatenate([nodes + 1, [len(self._vocabulary.node_byte)]])
        return np.stack([starts, stops], 1).astype(np.int32)

    def _new_base(self, local: int, words: np.ndarray, exits: np.ndarray) -> Base:
        is_in_order = bool((exits[1:] > exits[:-1]).all())
        base = Base(local, self._walker, words, exits.copy() if is_in_order else self.union([exits]))
        if not self._bases:
            base.find_states()  # JSON text, which most others have something in common with
        if len(self._bases) >= _MOST_BASES:
            del self._bases[1]  # the first is JSON text
        self._bases.append(base)
        self._base_locals = np.array([each.local for each in self._bases], np.int64)
        self._tell_bases()
        return base

    def _tell_bases(self) -> None:
        self._wide.put_bases([each.row for each in self._bases])

    def _taken(
        self, base: Base, drops: np.ndarray, tokens: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, SharedExits]:
        """The bits and exits of a walk that has a base."""
        vocabulary = self._vocabulary
        if (drops[1:, 0] < drops[:-1, 0]).any():  # a few runs that are in order: those are merged
            drops = drops[np.argsort(drops[:, 0], kind="stable")]
        words = base.words.copy()
        kernels.drop(words, drops, vocabulary.token_start, vocabulary.token_ids)
        kernels.set_bits(words, tokens, counts, FAR)
        return words, SharedExits(base, drops)

    def _bits(self, tokens: np.ndarray) -> np.ndarray:
        words = np.zeros(self._vocabulary.words, np.uint32)
        kernels.set_bits(words, tokens, np.zeros_like(tokens), 0)
        return words

    def _walk_document(self, local: int, span: Span, nodes: np.ndarray) -> Part:
        """`_walk` where a document is read: no state is made for what only might be read. Its tokens have none."""
        vocabulary = self._vocabulary
        reached, over = walk(span, nodes, vocabulary.node_byte, vocabulary.node_depth, vocabulary.node_end)
        tokens = self.tokens_at(reached)
        exits = reached[over & (vocabulary.node_end[reached] > reached + 1)]
        if self._frames.dfa.may_end(local):
            exits = np.concatenate([nodes, exits])
        none = np.zeros(len(tokens), np.int32)
        return Part(tokens, none - 1, none, 0, None, exits, np.zeros(len(exits), np.int32), None, (), {})

    def _walk_name(self, local: int, nodes: np.ndarray) -> Part | None:
        """`_walk` where an international host name is open; None: none is. See `name_walks`."""
        name = self._name_of(local) if self._frames.dfa.kinds[local] & APART else None
        if name is None:
            return None
        found = self._name_walks.walk(local, name, nodes)
        if not isinstance(found, tuple):
            return found
        tokens, exits = found
        return self._of_tokens(tokens, exits, [])

    def walk_label(self, label: OpenLabel, nodes: np.ndarray) -> Part:
        """`_walk` where an encoded label is open: no state is made for what might be written. See `label_parts`."""
        dfa, vocabulary = self._frames.dfa, self._vocabulary
        characters = dfa.state(dfa.exprs.repeat(dfa.exprs.byte_set(BYTES.encode()), 0, None))
        behind = dfa.exprs.first(label.tail) | QUOTE
        tokens, exits, entries = [_NONE], [_NONE], []
        for node in nodes:
            depth = int(vocabulary.node_depth[node])
            part = self.part(characters, NO_UNIT, np.array([node], np.int32))
            tokens.append(label.goes_on(vocabulary, self.tokens_of(part), depth))
            ends = self.exits_towards(part, _ANYWHERE, behind)
            for count, group in label.ends(vocabulary, ends, depth).items():
                over = np.array(group, np.int32)
                if label.tail == EPSILON:
                    exits.append(over)
                    continue
                after = self.part(dfa.state(label.behind(dfa.exprs, count)), NO_UNIT, over)
                tokens.append(self.tokens_of(after))
                exits.append(self.exits_towards(after, _ANYWHERE, ALL_BYTES))
                entries += after.entries
        if label.others != EMPTY:
            instead = self.part(dfa.state(label.others), NO_UNIT, nodes)
            tokens.append(self.tokens_of(instead))
            exits.append(self.exits_towards(instead, _ANYWHERE, ALL_BYTES))
            entries += instead.entries
        return self._of_tokens(np.unique(np.concatenate(tokens)), np.unique(np.concatenate(exits)), entries)

    def _of_tokens(self, tokens: np.ndarray, exits: np.ndarray, entries: list[tuple[int, np.ndarray]]) -> Part:
        """A part of which the states are not known in which tokens end."""
        words = self._bits(tokens) if len(tokens) > _FEW_TOKENS else None
        none = np.zeros(len(tokens), np.int32)
        return Part(tokens, none - 1, none, 0, words, exits, np.zeros_like(exits), None, tuple(entries), {})

    def tokens_of(self, part: Part) -> np.ndarray:
        """The tokens of a part, those taken from its base too."""
        if part.words is None:
            return part.tokens
        return np.flatnonzero(np.unpackbits(part.words.view(np.uint8), bitorder="little")).astype(np.int32)

    def tokens_at(self, nodes: np.ndarray) -> np.ndarray:
        """The tokens that end at any of `nodes`."""
        first, last = self._vocabulary.token_start[nodes], self._vocabulary.token_start[nodes + 1]
        sizes = last - first
        at = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._vocabulary.token_ids[first[at] + within]


@lru_cache(4096)
def _wanted(mask: int) -> np.ndarray:
    """Whether each byte is in a set, (256,) bool."""
    return np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little").view(bool)


def _grouped(entries: np.ndarray) -> tuple[tuple[int, np.ndarray], ...]:
    if not len(entries):
        return ()
    nodes, states = entries[:, 0], entries[:, 1]
    return tuple((state, nodes[states == state].copy()) for state in dict.fromkeys(states.tolist()))


def _root_weights(vocabulary: Vocabulary) -> np.ndarray:
    """Nodes of the trie below each first byte, (256,) int64."""
    weights = np.zeros(256, np.int64)
    node, ends = 1, vocabulary.node_end
    while node < len(ends):
        weights[vocabulary.node_byte[node]] = ends[node] - node
        node = int(ends[node])
    return weights
