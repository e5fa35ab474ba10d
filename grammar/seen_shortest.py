"""A shortest string of an intersection that is seen before one is searched for: that of a part, which all others have.

No string of an intersection is shorter than those of any part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bounds import Bounds
from .nodes import Kind
from .some_member import SomeMember

if TYPE_CHECKING:
    from .expr import Exprs
    from .witness import Witness


class SeenShortest:
    """Looks at parts of intersections for a pool's witness, and remembers of which no shortest string is found soon."""

    def __init__(self, exprs: Exprs, witness: Witness, some: SomeMember, bounds: Bounds) -> None:
        self._exprs = exprs
        self._witness = witness
        self._some = some
        self._bounds = bounds
        self._hard: set[int] = set()

    def __len__(self) -> int:
        return len(self._hard)

    def of(self, members: tuple[int, ...]) -> bytes | None:
        """A shortest string that all members have; None: none is seen."""
        found = self._of_a_member(members)
        return self._of_uncounted(members) if found is None else found

    def of_a_label(self, members: tuple[int, ...]) -> bytes | None:
        """One where a member is in a label, if it is the label's own shortest one."""
        for member in members:
            if self._bounds.label_length(member):
                found = self._witness.shortest(member)
                if found is not None and self._have(members, found):
                    return found
        return None

    def _have(self, members: tuple[int, ...], text: bytes) -> bool:
        return all(self._exprs.fullmatch(member, text) for member in members)

    def _of_a_member(self, members: tuple[int, ...]) -> bytes | None:
        """That of the member which needs most, as far as is known."""
        most = self._some.needs_most(members)
        if most is None:
            return None
        longest, text = most
        others = tuple(member for member in members if member != longest)
        return text if self._have(others, text) else None

    def _of_uncounted(self, members: tuple[int, ...]) -> bytes | None:
        """That of all members but those that count characters, if it is found soon.

        There are often very many intersections that only count differently.
        """
        exprs = self._exprs
        counts = [count for member in members if (count := self._count(member)) is not None]
        if not counts or any(map(self._some.is_limit, members)):  # which would not have a shortest one told
            return None
        uncounted = exprs.and_(*[member for member in members if self._count(member) is None])
        if uncounted in self._hard or exprs.kind(uncounted) != Kind.AND or max(counts) > self._bounds.of(uncounted):
            return None
        if not self._witness.is_found_soon(uncounted):
            self._hard.add(uncounted)
            return None
        text = self._witness.shortest(uncounted)
        return text if text is not None and self._have(members, text) else None

    def _count(self, item: int) -> int | None:
        """How many characters an expression asks for besides one that may be open; None: it does not count them."""
        node = self._exprs.node(item)
        node = self._exprs.node(node[2]) if node[0] == Kind.CAT else node
        return node[2] if node[0] == Kind.COUNTED else None
