"""Wide walks where a label is open whose states are texts (`machine.AnyMachine`, `is_made`).

There would be a state for every node of the trie. But nearly all tokens go on with the label, and while there is room
for an end each may; so tokens are taken from a walk over the characters of labels, which all such places share, and
only those that come near the end, or end the label, are looked at one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .chars import JSON_CHAR, PLAIN_CHAR
from .dfa import Dfa
from .expr import EMPTY, EPSILON, POOL, Exprs
from .idna import LONGEST, PREFIX
from .nodes import Kind
from .punycode import ALWAYS_ENDS, ENCODED, NEVER, begins_label
from .vocab import Vocabulary
from .work import tick

QUOTE = 1 << ord('"')
"""What comes behind a format: it is always that of a string, as a mask."""

_ONE_BYTE = POOL.byte_set(range(0x20, 0x7F))
_ANYTHING = tuple(POOL.repeat(unit, 0, None) for unit in (JSON_CHAR, PLAIN_CHAR, _ONE_BYTE))
_NO_LIMIT = 1 << 30
_OPEN_FROM = len(PREFIX) - 1


class OpenLabel(NamedTuple):
    """An encoded label that is open: what is written of it, how many characters may come, and what stands behind it.

    others: what may come in place of the label and the tail, as an expression.
    """

    text: str
    room: int
    tail: int
    others: int

    def goes_on(self, vocabulary: Vocabulary, tokens: np.ndarray, depth: int) -> np.ndarray:
        """Those of some tokens of characters of labels that go on with it, their first `depth` bytes left out."""
        room = min(self.room, LONGEST - len(self.text))
        lengths = vocabulary.token_bytes[tokens] - depth
        may_fit, fits = lengths <= room, lengths <= room - ALWAYS_ENDS
        if (PREFIX + NEVER).startswith(self.text):
            hyphens = np.array([vocabulary.tokens[token][depth] == ord("-") for token in tokens.tolist()], bool)
            fits &= ~hyphens & (len(self.text) >= len(PREFIX))
            may_fit &= hyphens | (len(self.text) >= len(PREFIX))
        for at in np.flatnonzero(may_fit & ~fits).tolist():
            tick()
            word = vocabulary.tokens[tokens[at]][depth:].decode().lower()
            fits[at] = begins_label(self.text + word, room - len(word))
        return tokens[fits]

    def ends(self, vocabulary: Vocabulary, nodes: np.ndarray, depth: int) -> dict[int, list[int]]:
        """Nodes at which it may be over among those come to by its characters, by how many came behind `depth`."""
        found: dict[int, list[int]] = {}
        for node in nodes.tolist():
            token = int(vocabulary.token_ids[vocabulary.token_start[node]])
            word = vocabulary.tokens[token][depth : int(vocabulary.node_depth[node])].decode().lower()
            if len(word) <= min(self.room, LONGEST - len(self.text)) and ENCODED.accepts(self.text + word):
                found.setdefault(len(word), []).append(node)
        return found

    def behind(self, exprs: Exprs, count: int) -> int:
        """What may follow when it is over after so many more characters."""
        return _limited(exprs, self.tail, self.room - count) if self.room < _NO_LIMIT else self.tail


def open_label(dfa: Dfa, local: int) -> OpenLabel | None:
    """The label that is open in a state; None: none is, or more is asked of it than a limit."""
    exprs, item = dfa.exprs, dfa.expression(local)
    node = exprs.node(item)
    if node[0] not in (Kind.AND, Kind.ALT):
        return None
    members = node[1] if node[0] == Kind.ALT else (item,)
    labels = {member: label for member in members if (label := _label_of(exprs, member))}
    if len(labels) != 1:
        return None
    ((with_label, label),) = labels.items()
    return label._replace(others=exprs.alt(label.others, *[each for each in members if each != with_label]))


def _label_of(exprs: Exprs, item: int) -> OpenLabel | None:
    """`open_label` of one alternative."""
    room, found = _NO_LIMIT, None
    node = exprs.node(item)
    for member in node[1] if node[0] == Kind.AND else (item,):
        kind, *rest = exprs.node(member)
        if kind == Kind.COUNTED and rest[0] in (JSON_CHAR, _ONE_BYTE) and rest[1] == 0 and rest[2] is not None:
            room = min(room, rest[2])
        elif member not in _ANYTHING and found is None:
            found = member
        elif member not in _ANYTHING:
            return None
    return None if found is None else _label(exprs, found, room)


def _label(exprs: Exprs, item: int, room: int) -> OpenLabel | None:
    node, tail, others = exprs.node(item), EPSILON, EMPTY
    if node[0] == Kind.CAT:
        tail, node = node[2], exprs.node(node[1])
    if node[0] == Kind.ALT:
        labels = [member for member in node[1] if _is_label(exprs.node(member))]
        if len(labels) != 1:
            return None
        others = exprs.concat(exprs.alt(*[member for member in node[1] if member not in labels]), tail)
        others = _limited(exprs, others, room) if room < _NO_LIMIT else others
        node = exprs.node(labels[0])
    return OpenLabel(node[2], room, tail, others) if _is_label(node) else None


def _limited(exprs: Exprs, item: int, room: int) -> int:
    return exprs.pruned(exprs.and_(item, exprs.counted(JSON_CHAR, 0, room)))


def _is_label(node: tuple[Any, ...]) -> bool:
    """Whether an encoded label is open, of which enough is written that most that is like it goes on with it."""
    return node[0] == Kind.MACHINE and node[1] is ENCODED and len(node[2]) >= _OPEN_FROM
