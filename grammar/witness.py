"""The shortest string of an expression, and so whether there is one at all.

Without intersections, complements and references the answer is read off the structure. References take the least
solution of one equation each. Intersections and complements are searched best first (A*), the bound being what the
members need by themselves. Beside a machine that limits lengths, a string that is seen stands for a shortest one where
that is not found soon, here and on all of its way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .bounds import NEVER, Bounds, times
from .errors import GrammarError
from .loosened import Loosened
from .nodes import Kind
from .pools import using
from .seen_shortest import SeenShortest
from .some_member import SomeMember
from .verbatim_search import Along
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs

__all__ = ["NEVER", "SEARCH_BUDGET", "Witness", "nicest"]

SEARCH_BUDGET = 30_000
"""States one search may open before the combination is refused. Its time is limited by `work.within`."""

_FEW, _FEW_TIGHT = 30, 3  # states
_MOST_LOOKED_AT, _SOON = 16, 8  # derivatives; bytes

_MANY = 100  # states: after so many it is asked whether less would be empty, in at most as many

_OUTLINED = (Kind.REF, Kind.WORDS, Kind.CAPTURE)

_NICE = b"a0" + bytes(range(0x62, 0x7B)) + bytes(range(0x31, 0x3A)) + bytes(range(0x41, 0x5B))
_ORDER = bytes(dict.fromkeys(_NICE + bytes(range(0x20, 0x7F)) + bytes(range(256))))


@lru_cache(1 << 14)
def nicest(mask: int) -> int:
    """The byte of a set that reads best in a made-up string."""
    for byte in _ORDER:
        if mask >> byte & 1:
            return byte
    raise ValueError("an empty set has no byte")


class Witness:
    """Remembers, for a pool, how long the shortest string of each expression asked about is."""

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._next: dict[int, tuple[int, int]] = {}  # on a path a search found: the byte, and what is left then
        self._along = Along(exprs)
        self._some = SomeMember(exprs, self)
        self._bounds = Bounds(exprs)
        self._loosened = Loosened(exprs)
        self._seen_shortest = SeenShortest(exprs, self, self._some, self._bounds)
        self._found: dict[int, bytes] = {}  # of intersections: a shortest string

    @property
    def remembered(self) -> int:
        """How many answers are kept."""
        parts = (self._next, self._found, self._bounds, self._along, self._some, self._seen_shortest, self._loosened)
        return sum(map(len, parts))

    def take_paths(self, other: Witness) -> None:
        """Take over what another pool's witness knows, where all nodes mean the same."""
        self._next = dict(other._next)
        self._found = dict(other._found)

    def know(self, item: int, text: bytes | None) -> None:
        """Say what `shortest` of an expression is; it must be right."""
        self._exprs.know(item, NEVER if text is None else len(text))
        if text is not None:
            self._found[item] = text

    def has_member(self, item: int) -> bool:
        """Whether any string is in the language."""
        if self._exprs.known_length(item) is None:
            node = self._exprs.node(item)
            if node[0] == Kind.ALT:
                return any(map(self.has_member, node[1]))
            if node[0] == Kind.CAT and self._exprs.kind(node[1]) in (Kind.AND, Kind.ALT):
                return self.has_member(node[1]) and not self._exprs.is_empty(node[2])
            if self._is_free(item) or self._is_soon_over(item) or self._has_some(item):
                return True
        return self.length(item) < NEVER

    def _is_soon_over(self, item: int) -> bool:
        """Whether a string is seen at once of an intersection without a machine that limits lengths."""
        members = self._members(item)
        if not members or any(map(self._some.is_limit, members)):
            return False
        return self._exprs.way_out(item, _MOST_LOOKED_AT, _SOON) is not None

    def _has_some(self, item: int) -> bool:
        """Whether a string is seen of an intersection of which a shortest one is not found soon."""
        members = self._members(item)
        if not members or self._bounds.of(item) >= NEVER:
            return False
        is_soon = not any(map(self._some.is_limit, members)) and self._bounds.of(item) <= _FEW
        if is_soon and self.is_found_soon(item):
            return False
        text = self._some.find(item)
        return text is not None and (not self._is_tight(item) or self._keep_text(item, text))

    def seen(self, item: int) -> bytes | None:
        """Some string that is found without a search; None: none is, though there may be one."""
        return self._some.find(item)

    def is_found_soon(self, item: int) -> bool:
        """Whether few states of an intersection tell a shortest string, or that there is none: it is known then."""
        return self._search(item, _FEW) is not None

    def _is_free(self, item: int) -> bool:
        """Whether a captured text, one alternative perhaps, is seen to have an end without one being made up."""
        if not any(True for _ in self._last_captures(item, lambda _: True)):
            return False
        return any(map(self._has_free_end, self._last_captures(item, self.has_member)))

    def _last_captures(self, item: int, may_begin: Callable[[int], bool]) -> Iterator[tuple[Any, ...]]:
        """The captured texts that alternatives end with, behind what `may_begin` lets through, each once: nodes."""
        todo, met = [item], {item}
        while todo:
            tick()
            node = self._exprs.node(todo.pop())
            if node[0] == Kind.CAPTURE:
                yield node
            behind = node[1] if node[0] == Kind.ALT else (node[2],) if node[0] == Kind.CAT else ()
            new = [each for each in behind if each not in met]
            if new and (node[0] == Kind.ALT or may_begin(node[1])):
                met.update(new)
                todo += reversed(new)

    def _has_free_end(self, capture: tuple[Any, ...]) -> bool:
        """Whether a captured text is seen to have an end without one being made up."""
        from .captures import has_others, is_free, listed_by, may_become_taken  # which build expressions, too

        _, body, text, rule = capture
        with using(self._exprs):
            if not is_free(rule) or not self.has_member(body):
                return False
            return not may_become_taken(rule, text) or bool(has_others(rule, body, text, listed_by(body, text)))

    def length(self, item: int) -> int:
        """Bytes of a shortest string, or NEVER."""
        known = self._exprs.known_length(item)
        if known is None:
            self._solve(item)
            known = self._exprs.known_length(item)
            assert known is not None
        return known

    def shortest(self, item: int) -> bytes | None:
        """One of the shortest strings, or None."""
        if self.length(item) >= NEVER:
            return None
        out, todo = bytearray(), [item]
        while todo:
            item = todo.pop()
            node = self._exprs.node(item)
            kind = node[0]
            if self.length(item) == 0:
                continue
            if item in self._next:
                byte, rest = self._next[item]
                out.append(byte)
                todo.append(rest)
            elif item in self._found:
                out += self._found[item]
            elif kind == Kind.MACHINE:
                machine, state = node[1:]
                while machine.length(state):
                    mask, state = machine.nearer(state)
                    out.append(nicest(mask))
            elif kind == Kind.VERBATIM:
                out += node[1].text.shortest(node[1])
            elif kind == Kind.SET:
                out.append(nicest(node[1]))
            elif kind == Kind.CAT:
                todo += (node[2], node[1])
            elif kind == Kind.ALT:
                todo.append(min(node[1], key=self.length))
            elif kind in (Kind.REPEAT, Kind.COUNTED):
                out += (self.shortest(node[1]) or b"") * node[2]
            else:
                todo.append(self._exprs.outline(item) if kind in _OUTLINED else node[1])
        return bytes(out)

    # -- structure and references -----------------------------------------------------------------------------

    def _solve(self, item: int) -> None:
        """Find the length of `item` and of everything it rests on: the least solution, by rounds over references."""
        order, refs = self._unsolved(item)
        values = dict.fromkeys(refs, NEVER)
        changed = True
        while changed:
            changed = False
            for part in order:
                value = self._combine(part, values)
                changed |= value < values.get(part, NEVER)  # a reference may come before what it stands for
                values[part] = value
            changed = changed and bool(refs)
        for part, length in values.items():
            self._exprs.know(part, length)

    def _unsolved(self, item: int) -> tuple[list[int], set[int]]:
        """What `item` rests on and is not solved yet, parts before wholes; and the references among it."""
        order: list[int] = []
        refs: set[int] = set()
        opened: set[int] = set()
        todo = [(item, False)]
        while todo:
            part, done = todo.pop()
            if done:
                order.append(part)
            elif self._exprs.known_length(part) is None and part not in opened:
                opened.add(part)
                if self._exprs.node(part)[0] == Kind.REF:
                    refs.add(part)
                todo.append((part, True))
                todo += [(child, False) for child in self._parts(part)]
        return order, refs

    def _parts(self, item: int) -> tuple[int, ...]:
        node = self._exprs.node(item)
        kind = node[0]
        if kind == Kind.CAT:
            return node[1:]
        if kind == Kind.ALT:
            return node[1]
        if kind in (Kind.REPEAT, Kind.COUNTED, Kind.FRAME):
            return (node[1],)
        return (self._exprs.outline(item),) if kind in _OUTLINED else ()

    def _combine(self, item: int, values: dict[int, int]) -> int:
        def length(part: int) -> int:
            known = self._exprs.known_length(part)
            return values.get(part, NEVER) if known is None else known

        node = self._exprs.node(item)
        kind = node[0]
        if kind in (Kind.AND, Kind.NOT):
            found = self._search(item)
            assert found is not None
            return found
        if kind == Kind.CAT:
            return min(length(node[1]) + length(node[2]), NEVER)
        if kind == Kind.ALT:
            return min(map(length, node[1]))
        if kind in (Kind.REPEAT, Kind.COUNTED):
            return times(node[2], length(node[1]))
        if kind == Kind.FRAME or kind in _OUTLINED:
            return length(self._parts(item)[0])
        if kind == Kind.MACHINE:
            return node[1].length(node[2])
        if kind == Kind.VERBATIM:
            return len(node[1].text.shortest(node[1]))
        return {Kind.EMPTY: NEVER, Kind.EPSILON: 0}.get(kind, 1)

    # -- intersections and complements ------------------------------------------------------------------------

    def _search(self, start: int, most: int = SEARCH_BUDGET + 1) -> int | None:
        """Length of the shortest string of `start`; remembers the path to it, or that there is none.

        None: it takes more states than `most`. Raises GrammarError for more than the budget.
        """
        exprs = self._exprs
        known = exprs.known_length(start)
        if known is not None:
            return known
        if any(exprs.node(m)[0] == Kind.VERBATIM for m in self._members(start)):
            return self._search_document(start)
        if self._bounds.of(start) >= NEVER:
            exprs.know(start, NEVER)
            return NEVER
        found, seen = self._seen_shortest.of_a_label(self._members(start)), None
        if found is None:
            seen = self._under_a_limit(start)
            found = seen if seen is not None and len(seen) <= self._length_without_limit(start) else None
        if found is None:
            found = self._seen_shortest.of(self._members(start))
        if found is not None:
            self._found[start] = found
            exprs.know(start, len(found))
            return len(found)
        walked = {start: 0}
        came: dict[int, tuple[int, int]] = {}
        heap = [(self._bounds.of(start), 0, start)]
        opened, is_tight = 0, self._is_tight(start)
        few = _FEW_TIGHT if is_tight else _FEW
        while heap:
            _, minus_walked, item = heapq.heappop(heap)
            if -minus_walked > walked[item]:
                continue
            rest = self._settled(item)
            if rest is not None:
                return self._keep_path(start, item, rest, came)
            opened += 1
            tick()
            if seen is not None and opened > few:
                if self._keep_text(start, seen):
                    return len(seen)
                break
            if opened > most:
                return None
            if is_tight and opened > few:
                break
            if opened == _MANY and most > SEARCH_BUDGET and self._is_loosely_empty(start):
                break
            if opened > SEARCH_BUDGET:
                raise GrammarError(
                    "constraint",
                    "",
                    "this combination of conditions is too large to decide whether anything satisfies it",
                    "combine fewer patterns, negations and length limits on one value",
                )
            first = exprs.first(item)
            for mask in exprs.byte_classes(item):
                if not mask & first:
                    continue
                byte = nicest(mask & first)
                after = exprs.unframed(exprs.raw_derivative(item, byte))
                bound = self._bounds.of(after)
                if bound < NEVER and walked[item] + 1 < walked.get(after, NEVER):
                    walked[after] = walked[item] + 1
                    came[after] = (item, byte)
                    heapq.heappush(heap, (walked[after] + bound, -walked[after], after))
        for item in (start,) if is_tight or seen is not None else walked:
            exprs.know(item, NEVER)
        return NEVER

    def _members(self, item: int) -> tuple[int, ...]:
        """Of an intersection."""
        node = self._exprs.node(item)
        return node[1] if node[0] == Kind.AND else ()

    def _is_loosely_empty(self, item: int) -> bool:
        """Whether an intersection is found to be empty, soon, whatever its members count."""
        members = self._members(item)
        if not members:
            return False
        loosened = self._exprs.and_(*map(self._loosened.of, members))
        return loosened != item and self._search_or_read(loosened) == NEVER

    def _search_or_read(self, item: int) -> int | None:
        if self._exprs.kind(item) == Kind.AND:
            return self._search(item, _MANY)
        return self.length(item) if self._exprs.plain(item) else None

    def _under_a_limit(self, item: int) -> bytes | None:
        """Some string that is seen of an intersection with a machine that limits lengths; None for others."""
        members = self._members(item)
        if len(members) == 1 or sum(map(self._some.is_limit, members)) != 1:
            return None
        return self._some.find(item)

    def _length_without_limit(self, item: int) -> int:
        """Bytes of a shortest string of what an intersection asks for besides such a machine."""
        return self.length(self._exprs.and_(*[each for each in self._members(item) if not self._some.is_limit(each)]))

    def _keep_text(self, start: int, text: bytes) -> bool:
        """Have a string be a way to an end, for it and for all that it leads through: as if it were a shortest one.

        What takes it at its word will not be told on its way that there is none. False: that was said already.
        """
        exprs, way = self._exprs, [start]
        for byte in text:
            way.append(exprs.unframed(exprs.raw_derivative(way[-1], byte)))
        if any(exprs.known_length(item) == NEVER for item in way):
            return False
        for at, byte in enumerate(text):
            item = way[at]
            if exprs.known_length(item) is None and any(map(self._some.is_limit, self._members(item))):
                self._next[item] = byte, way[at + 1]
                exprs.know(item, len(text) - at)
        return True

    def _is_tight(self, item: int) -> bool:
        """Whether a machine leaves few ways to what else an intersection asks for, none of which is seen.

        Nearly always there is none then. That is taken for granted, as all ways to fill what is left would have to be
        tried: what has such an end, and no other, is left out.
        """
        limits = filter(self._some.is_limit, self._members(item))
        return any(self._exprs.node(limit)[1].is_tight(self._exprs.node(limit)[2]) for limit in limits)

    def _search_document(self, item: int) -> int:
        """`_search` for what must stand in a document: there is only one way to go on from each of its places."""
        members = self._members(item)
        span_id = next(m for m in members if self._exprs.node(m)[0] == Kind.VERBATIM)
        rest = self._exprs.and_(*[m for m in members if m != span_id])
        found = self._along.shortest(self._exprs.node(span_id)[1], rest)
        if found is None:
            length = NEVER
        else:
            length, self._found[item] = len(found), found
        self._exprs.know(item, length)
        return length

    def _settled(self, item: int) -> int | None:
        """The exact length still needed from here, where it needs no search."""
        if self._exprs.nullable(item):
            return 0
        if self._exprs.plain(item):
            return self.length(item)
        return self._exprs.known_length(item)

    def _keep_path(self, start: int, goal: int, rest: int, came: dict[int, tuple[int, int]]) -> int:
        self._exprs.know(goal, rest)
        item = goal
        while item != start:
            before, byte = came[item]
            self._next[before] = (byte, item)
            rest += 1
            self._exprs.know(before, rest)
            item = before
        return rest
