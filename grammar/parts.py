"""Wide walks inside one frame, and what they have in common.

Most states in which almost everything is allowed are nearly alike: the keys besides those that are listed are any text
but a few. A walk from the root therefore takes what it has in common with an earlier wide one, its base, from there.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np

from . import bases, kernels, walk_kernels
from . import wide_kernels as wk
from .bases import Base, Bases
from .dfa import APART, DEAD
from .expr import EPSILON, Kind
from .label_parts import OpenLabel, open_label
from .label_walks import walk_label
from .name_parts import OpenName, open_name
from .name_walks import NameWalks
from .part import NONE, Many, Part, SharedExits, tokens_of
from .part_limits import Limits, Within
from .places import NO_UNIT, Frames, Place
from .trie import all_but, tokens_at
from .verbatim import Span, walk
from .vocab import Vocabulary
from .walker import Walked, Walker
from .wide import WideWalks
from .work import letting_go

_PART_BYTES_LIMIT = 256 << 20
_PART_OVERHEAD = 1000
_FEW_TOKENS = 1024  # of parts with more, many things are known together
_MOST_TOWARDS = 50
FAR = 1 << 30
"""More units than any token has."""

_ROOT = np.zeros(1, np.int32)
_ANYWHERE = Place(DEAD, NO_UNIT, 0, 0, 0, ())


class Parts:
    """Makes walks for one vocabulary. They are kept, as contexts share them, and dropped when they grow too large."""

    def __init__(self, frames: Frames, walker: Walker, vocabulary: Vocabulary, wide: WideWalks) -> None:
        self._wide = wide
        self._frames = frames
        self._walker = walker
        self._vocabulary = vocabulary
        me = weakref.proxy(self)  # who asks these parts for walks is no reference to them: no cycle
        self._limits = Limits(me, frames, vocabulary)
        self._parts: dict[tuple[int, int, bytes], Part] = {}
        self._bases = Bases(frames.dfa, walker, vocabulary, wide)
        self._labels: dict[int, OpenLabel | None] = {}
        self._names: dict[int, OpenName | None] = {}
        self._name_walks = NameWalks(me, frames.dfa, vocabulary)
        self._kept_bytes = 0
        self._zeros = np.zeros(len(vocabulary.node_byte), np.int32)
        self._nothing = frames.dfa.state(EPSILON)
        self._met = np.zeros(0, np.uint8)  # by state; and room for those that are met
        self._states = np.zeros(0, np.int32)

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
        if part.words is not None and most >= part.most_units:
            words |= part.words
        else:
            kernels.set_bits(words, part.tokens, part.token_counts, most)

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
        exits = NONE
        if part.may_end:
            exits = self.exits_towards(part, _ANYWHERE, self._frames.exprs.mask_of(number))
        self._kept_bytes += exits.nbytes
        return self._wide.put(local, number, part.words, part.tokens, exits)

    def walked_from(self, local: int, nodes: np.ndarray) -> int:
        """The state of which the walk is that of a state: without its limit on characters, where that is far off."""
        while self._has_limit(local):  # there may be several
            without = self._limits.walked_from(local, nodes)
            if without == local:
                break
            local = without
        return local

    def _has_limit(self, local: int) -> bool:
        """Whether a limit on characters may stand beside conditions."""
        return (
            self._frames.dfa.kinds[local] & APART != 0 and self._name_of(local) is None and self.label_of(local) is None
        )

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
            exits = self._walker.towards(exits, first)
        if part.shared_exits is None:
            return exits
        base, drops = part.shared_exits.base, part.shared_exits.drops
        shared = base.exits_by_first.get(first)
        if shared is None:
            shared = base.exits_by_first[first] = self._walker.towards(base.exits, first)
        if len(drops):
            found = np.empty_like(shared)
            shared = found[: walk_kernels.outside(shared, drops, found)].copy()
        return np.concatenate([exits, shared]) if len(exits) else shared

    # -- walks ------------------------------------------------------------------------------------------------

    def _walk(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        dfa = self._frames.dfa
        if dfa.kinds[local] & APART:
            node = self._frames.exprs.node(dfa.expression(local))
            if node[0] == Kind.VERBATIM:
                return self._walk_document(local, node[1], nodes)
        if unit != NO_UNIT:
            return self._walk_counting(local, unit, nodes)
        from_root = len(nodes) == 1 and nodes[0] == 0
        if from_root:
            within = self._limits.within(local) if self._has_limit(local) else None
            found = self._walk_beside(local) if within is None else self._walk_within(local, within)
            if found is not None:
                return found
        base, at_base = (None, None) if from_root else self._bases.best_at(local, nodes)
        walked = self._walker.walk(local, NO_UNIT, nodes if at_base is None else nodes[~at_base])
        exits = walked.exits[0]
        exits = np.concatenate([nodes, exits]) if dfa.may_end(local) else exits.copy()
        entries, (tokens, states) = _grouped(walked.entries), walked.tokens[:2]
        if base is not None and at_base is not None:
            return self._taken(base, all_but(self._vocabulary, nodes[at_base]), walked.tokens, local, exits, entries)
        if tokens.shape[0] <= _FEW_TOKENS:
            return self._counting_nothing(tokens.copy(), states.copy(), None, exits, None, entries)
        many, shared = self._sum_up(walked.tokens, local), None
        if from_root and walked.reached > bases.WIDE and not entries:
            below = int(len(exits) > 0 and exits[0] == 0)  # whether the frame may be over at the root is not shared
            base = self._bases.add(local, many, exits[below:])
            exits, shared = exits[:below].copy(), SharedExits(base, np.zeros((0, 2), np.int32))
        return self._counting_nothing(NONE, NONE, many, exits, shared, entries)

    def _walk_counting(self, local: int, unit: int, nodes: np.ndarray) -> Part:
        """`_walk` in a run of which the units are counted."""
        walked = self._walker.walk(local, unit, nodes)
        exits, exit_counts = walked.exits.copy()
        tokens, states, counts = walked.tokens
        # From several nodes a token may be come to with different counts: no bit of it stands for one of them.
        is_many = len(tokens) > _FEW_TOKENS and len(nodes) == 1
        many, states = (self._sum_up(walked.tokens, local), NONE) if is_many else (None, states.copy())
        most, entries = int(counts.max(initial=0)), _grouped(walked.entries)
        return Part(tokens.copy(), states, counts.copy(), most, many, exits, exit_counts, None, entries, {})

    def _counting_nothing(
        self,
        tokens: np.ndarray,
        states: np.ndarray,
        many: Many | None,
        exits: np.ndarray,
        shared: SharedExits | None,
        entries: tuple[tuple[int, np.ndarray], ...],
    ) -> Part:
        counts, exit_counts = self._none_begun(len(tokens)), self._none_begun(len(exits))
        return Part(tokens, states, counts, 0, many, exits, exit_counts, shared, entries, {})

    def _sum_up(self, walked: np.ndarray, local: int, words: np.ndarray | None = None) -> Many:
        """What is known of many tokens together, rows as `Walked` has them. words: bits to which theirs are added."""
        n_states = len(self._frames.dfa)
        if n_states > len(self._met):
            self._met, self._states = np.zeros(2 * n_states, np.uint8), np.zeros(2 * n_states, np.int32)
        words = np.zeros(self._vocabulary.words, np.uint32) if words is None else words
        stays, whole = np.zeros_like(words), np.zeros_like(words)
        longest, n_stays, n_whole, n_met = walk_kernels.sum_up(
            walked[0],
            walked[1],
            local,
            self._nothing,
            self._vocabulary.token_bytes,
            words,
            stays,
            whole,
            self._met,
            self._states,
        )
        met = self._states[:n_met].copy()
        return Many(words, longest, met, stays if n_stays else None, whole if n_whole else None)

    def _walk_within(self, local: int, within: Within) -> Part:
        """`_walk` from the root in a state with a limit on characters, of which the walk without it is known.

        All that is not deep is the same there.
        """
        part, depth = within
        assert part.many is not None  # as others are not given
        vocabulary = self._vocabulary
        walked = self._walker.walk(local, NO_UNIT, _ROOT, least=depth + 1)
        tokens = walked.tokens[:2, vocabulary.token_bytes[walked.tokens[0]] > depth].copy("C")
        exits = walked.exits[0]
        exits = exits[vocabulary.node_depth[exits] > depth]
        short, deep = self._limits.up_to(depth)
        many = self._sum_up(tokens, local, part.many.words & short)
        met = np.union1d(many.end_states, part.many.end_states)
        many = Many(many.words, max(depth, many.longest), met, None, _either(part.many.whole, many.whole, short))
        shared = part.shared_exits
        if shared is not None:
            drops = np.concatenate([shared.drops, deep])
            shared = SharedExits(shared.base, drops[np.argsort(drops[:, 0], kind="stable")])
        exits = np.concatenate([part.exits[vocabulary.node_depth[part.exits] <= depth], exits])
        return self._counting_nothing(NONE, NONE, many, exits, shared, ())

    def _walk_beside(self, local: int) -> Part | None:
        """`_walk` from the root where there is a base for it; None: there is none."""
        if not self._bases:
            return None
        if not self._walker.is_compiled:
            return self._walk_plainly_beside(local)
        limits = bases.WIDE, bases.MANY_BYTES
        at, walked, bits = self._walker.walk_beside(local, limits)
        while at <= wk.ASK:
            if at == wk.ASK:
                self._frames.dfa.complete(local)
            else:
                self._bases.find_states(int(wk.UNWALKED) - at)
            at, walked, bits = self._walker.walk_beside(local, limits)
        if at == wk.NO_BASE:
            return None
        base = self._bases[at]
        if walked is None:
            return self._all_beside(base, self._walker.finish_beside(base.states), local)
        exits, shared = walked.exits[0].copy(), SharedExits(base, walked.drops.copy())
        many = self._sum_up(walked.tokens, local, bits.copy())
        return self._counting_nothing(NONE, NONE, many, exits, shared, _grouped(walked.entries))

    def _walk_plainly_beside(self, local: int) -> Part | None:
        """`_walk_beside`, not in one call."""
        base = self._bases.best(local)
        if base is None:
            return None
        walked = self._walker.walk(local, NO_UNIT, _ROOT, base.states)
        if self._frames.dfa.may_end(local):
            walked = walked._replace(exits=np.concatenate([np.zeros((2, 1), np.int32), walked.exits], 1))
        return self._all_beside(base, walked, local)

    def _all_beside(self, base: Base, walked: Walked, local: int) -> Part:
        exits, entries = walked.exits[0].copy(), _grouped(walked.entries)
        return self._taken(base, walked.drops.copy(), walked.tokens, local, exits, entries)

    def _taken(
        self,
        base: Base,
        drops: np.ndarray,
        walked: np.ndarray,
        local: int,
        exits: np.ndarray,
        entries: tuple[tuple[int, np.ndarray], ...],
    ) -> Part:
        """A walk that has a base. walked, exits: the tokens and exits besides those of the base outside of `drops`."""
        vocabulary = self._vocabulary
        if (drops[1:, 0] < drops[:-1, 0]).any():  # a few runs that are in order: those are merged
            drops = drops[np.argsort(drops[:, 0], kind="stable")]
        words = base.words.copy()
        kernels.drop(words, drops, vocabulary.token_start, vocabulary.token_ids)
        many = self._sum_up(walked, local, words)
        return self._counting_nothing(NONE, NONE, many, exits, SharedExits(base, drops), entries)

    def _none_begun(self, n: int) -> np.ndarray:
        """So many counts of 0, shared by all: walks that count nothing are the widest."""
        if n > len(self._zeros):
            self._zeros = np.zeros(2 * n, np.int32)
        return self._zeros[:n]

    # -- walks that are not those of a DFA --------------------------------------------------------------------

    def _walk_document(self, local: int, span: Span, nodes: np.ndarray) -> Part:
        """`_walk` where a document is read: no state is made for what only might be read. Its tokens have none."""
        vocabulary = self._vocabulary
        reached, over = walk(span, nodes, vocabulary.node_byte, vocabulary.node_depth, vocabulary.node_end)
        exits = reached[over & (vocabulary.node_end[reached] > reached + 1)]
        if self._frames.dfa.may_end(local):
            exits = np.concatenate([nodes, exits])
        tokens = tokens_at(vocabulary, reached)
        return self._counting_nothing(tokens, np.full(len(tokens), -1, np.int32), None, exits, None, ())

    def _walk_name(self, local: int, nodes: np.ndarray) -> Part | None:
        """`_walk` where an international host name is open; None: none is. See `name_walks`."""
        name = self._name_of(local) if self._frames.dfa.kinds[local] & APART else None
        if name is None:
            return None
        found = self._name_walks.walk(local, name, nodes)
        if not isinstance(found, tuple):
            return found
        tokens, exits = found
        return self.of_tokens(tokens, exits, ())

    def walk_label(self, label: OpenLabel, nodes: np.ndarray) -> Part:
        """`_walk` where an encoded label is open: no state is made for what might be written. See `label_parts`."""
        return walk_label(self, self._frames.dfa, self._vocabulary, label, nodes)

    def of_tokens(self, tokens: np.ndarray, exits: np.ndarray, entries: tuple[tuple[int, np.ndarray], ...]) -> Part:
        """A part of which the states are not known in which tokens end, and that counts nothing."""
        none = np.full(len(tokens), -1, np.int32)
        if len(tokens) <= _FEW_TOKENS:
            return self._counting_nothing(tokens, none, None, exits, None, entries)
        words = np.zeros(self._vocabulary.words, np.uint32)
        kernels.set_bits(words, tokens, none, 0)
        many = Many(words, int(self._vocabulary.token_bytes[tokens].max()), none[:1], None, None)
        return self._counting_nothing(NONE, NONE, many, exits, None, entries)

    def tokens_of(self, part: Part) -> np.ndarray:
        """The tokens of a part, those taken from its base too."""
        return part.tokens if part.words is None else tokens_of(part.words)


def _either(first: np.ndarray | None, second: np.ndarray | None, among: np.ndarray) -> np.ndarray | None:
    """Bits of the first among some, and of the second."""
    if first is None:
        return second
    return first & among if second is None else (first & among) | second


def _grouped(entries: np.ndarray) -> tuple[tuple[int, np.ndarray], ...]:
    if not len(entries):
        return ()
    nodes, states = entries[:, 0], entries[:, 1]
    return tuple((state, nodes[states == state].copy()) for state in dict.fromkeys(states.tolist()))
