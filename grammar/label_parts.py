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
from .punycode import ALWAYS_ENDS, BYTES, ENCODED, NEVER, begins_label
from .vocab import Vocabulary
from .work import tick

QUOTE = 1 << ord('"')
"""What comes behind a format: it is always that of a string, as a mask."""

_ONE_BYTE = POOL.byte_set(range(0x20, 0x7F))
_ANYTHING = tuple(POOL.repeat(unit, 0, None) for unit in (JSON_CHAR, PLAIN_CHAR, _ONE_BYTE))
_NO_LIMIT = 1 << 30
_ENOUGH = LONGEST + 2  # characters in which a label ends and a name goes on
_OPEN_FROM = len(PREFIX) - 1
_MAY_HOLD = {Kind.MACHINE, Kind.CAT, Kind.ALT}


class OpenLabel(NamedTuple):
    """An encoded label that is open: what is written of it, how many characters may come, and what stands behind it.

    others: what may come in place of the label and the tail, as an expression. least: how many characters have to come.
    """

    text: str
    room: int
    tail: int
    others: int
    least: int = 0

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
        tail = _at_least(exprs, self.tail, self.least - count) if self.least > count else self.tail
        return _limited(exprs, tail, self.room - count) if self.room < _NO_LIMIT else tail


def open_label(dfa: Dfa, local: int) -> OpenLabel | None:
    """The label that is open in a state; None: none is, or more is asked of it than a limit."""
    exprs, item = dfa.exprs, dfa.expression(local)
    if exprs.kind(item) not in (Kind.AND, Kind.ALT, Kind.CAT):
        return None
    node = exprs.node(item)
    members = node[1] if node[0] == Kind.ALT else (item,)
    labels = {member: label for member in members if (label := _label_of(exprs, member))}
    if len(labels) != 1:
        return None
    ((with_label, label),) = labels.items()
    return label._replace(others=exprs.alt(label.others, *[each for each in members if each != with_label]))


def _label_of(exprs: Exprs, item: int) -> OpenLabel | None:
    """`open_label` of one alternative."""
    room, least, found, steady = _NO_LIMIT, 0, None, []
    node = exprs.node(item)
    members = node[1] if node[0] == Kind.AND else (item,)
    if not any(_may_hold_label(exprs, member) for member in members):
        return None
    for member in members:
        kind, *rest = exprs.node(member)
        if kind == Kind.COUNTED and rest[0] in (JSON_CHAR, _ONE_BYTE):
            least = max(least, rest[1])
            room = room if rest[2] is None else min(room, rest[2])
        elif member in _ANYTHING:
            continue
        elif found is None and _may_hold_label(exprs, member):
            found = member
        elif _is_steady(exprs, member):
            steady.append(member)
        else:
            return None
    label = None if found is None else _label(exprs, found, room, steady)
    if label is None or not least:
        return label
    others = exprs.pruned(exprs.and_(label.others, exprs.counted(JSON_CHAR, least, None)))
    if least > ENCODED.length(label.text):  # else the label alone has as many
        if label.tail == EPSILON or room < least + _ENOUGH or exprs.is_empty(_at_least(exprs, label.tail, least)):
            return None
        label = label._replace(least=least)
    return label._replace(others=others)


def _may_hold_label(exprs: Exprs, item: int) -> bool:
    """Whether an encoded label is open in what an expression begins with."""
    if exprs.kind(item) not in _MAY_HOLD:
        return False
    node = exprs.node(item)
    if node[0] == Kind.CAT:
        if exprs.kind(node[1]) not in _MAY_HOLD:
            return False
        node = exprs.node(node[1])
    return _is_label(node) or (node[0] == Kind.ALT and any(_is_label(exprs.node(each)) for each in node[1]))


def _is_steady(exprs: Exprs, item: int) -> bool:
    """Whether texts may be over, and the characters of labels change nothing about what may follow."""
    return exprs.nullable(item) and all(exprs.derivative(item, byte) == item for byte in BYTES.encode())


def _label(exprs: Exprs, item: int, room: int, steady: list[int]) -> OpenLabel | None:
    node, tail, others = exprs.node(item), EPSILON, EMPTY
    if node[0] == Kind.CAT:
        tail, node = exprs.and_(node[2], *steady), exprs.node(node[1])
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


def _at_least(exprs: Exprs, item: int, count: int) -> int:
    return exprs.pruned(exprs.and_(item, exprs.counted(JSON_CHAR, count, None)))


def _is_label(node: tuple[Any, ...]) -> bool:
    """Whether an encoded label is open, of which enough is written that most that is like it goes on with it."""
    return node[0] == Kind.MACHINE and node[1] is ENCODED and len(node[2]) >= _OPEN_FROM
