"""The characters that a tokenizer can spell, and expressions cut down to texts of them.

A tokenizer may lack bytes: one of words and characters, say, without a token for each byte. What it can spell are then
the characters whose bytes are all tokens, and those that are tokens themselves. One that is a token is left out where
some other token ends inside it and the bytes behind are no tokens: nothing could go on there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .chars import CodePoints, code_points, union, utf8
from .expr import ALL_BYTES, EMPTY, EPSILON, POOL, Kind
from .work import tick

_UTF8_BYTES = ALL_BYTES & ~sum(1 << byte for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))
_LEADS = ((0xC2, 0xDF), (0xE0, 0xEF), (0xF0, 0xF4))  # first bytes of characters of two, three and four
_LONGEST = 4


def alphabet_of(tokens: Iterable[bytes], single_bytes: int) -> CodePoints | None:
    """The characters that tokens can spell, `single_bytes` (a mask) one by one; None: all there are."""
    if not _UTF8_BYTES & ~single_bytes:
        return None
    whole, inside = set(), set()
    for token in tokens:
        whole.add(token)
        inside.update(_broken_end(token))
    wholes = [token for token in whole if len(token) <= _LONGEST and _is_character(token)]
    spelled = (ord(token.decode()) for token in wholes if _is_never_stuck(token, inside, single_bytes))
    return union(code_points((c, c) for c in spelled), _spelled_by_bytes(single_bytes))


def _broken_end(token: bytes) -> Iterable[bytes]:
    """The beginning of a character at the end of a token that does not end with it; nothing, or one."""
    for size in range(1, min(_LONGEST, len(token) + 1)):
        byte = token[-size]
        if byte >= 0xC0:
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return (token[-size:],) if size < needed else ()
        if byte < 0x80:
            return ()
    return ()


def _is_character(token: bytes) -> bool:
    try:
        return len(token.decode()) == 1
    except UnicodeDecodeError:
        return False


def _is_never_stuck(char: bytes, inside: set[bytes], single_bytes: int) -> bool:
    """Whether the bytes behind each place inside where a token may end are tokens."""
    return all(
        char[:size] not in inside or all(single_bytes >> byte & 1 for byte in char[size:])
        for size in range(1, len(char))
    )


def _spelled_by_bytes(mask: int) -> CodePoints:
    """The characters whose bytes are all of a mask."""
    found = [(byte, byte) for byte in range(0x80) if mask >> byte & 1]
    behind = [byte & 0x3F for byte in range(0x80, 0xC0) if mask >> byte & 1]
    for size, (low, high) in enumerate(_LEADS, 2):
        begun = [byte & (0x7F >> size) for byte in range(low, high + 1) if mask >> byte & 1]
        for _ in range(size - 2):
            begun = [code << 6 | bits for code in begun for bits in behind]
        least = (0x80, 0x800, 0x10000)[size - 2]
        for code in begun:
            tick()
            wholes = [code << 6 | bits for bits in behind]
            found += [(whole, whole) for whole in wholes if least <= whole <= 0x10FFFF]
    return code_points(found)


class Restricted:
    """Expressions cut down to texts of some characters, part by part, so that frames and references stay.

    Where a part ends inside a character, the next has to go on there: so of each part there is what it makes of each
    state, which is an expression of what is left of an open character, EPSILON between characters.
    """

    def __init__(self, characters: CodePoints) -> None:
        self._characters = characters
        self._character = utf8(characters)
        self._every_text = POOL.repeat(self._character, 0, None)
        self._known: dict[tuple[int, int], dict[int, int]] = {}
        self._moves: dict[int, dict[int, int]] = {}

    def of(self, item: int) -> int:
        """The texts of `item` that are made of the characters alone."""
        return self._ways(item, EPSILON).get(EPSILON, EMPTY)

    def _ways(self, item: int, state: int) -> dict[int, int]:
        """By the state behind them, the texts of `item` that may follow a state."""
        known = self._known.get((item, state))
        if known is None:
            tick()
            known = self._known[item, state] = self._find(item, state)
        return known

    def _find(self, item: int, state: int) -> dict[int, int]:
        node = POOL.node(item)
        kind = node[0]
        if kind == Kind.CAT:
            return self._of_parts(_parts(item), state)
        if kind == Kind.SET:
            return {
                after: POOL.byte_mask(bits) for after, mask in self._after(state).items() if (bits := mask & node[1])
            }
        if kind == Kind.ALT:
            return _joined(self._ways(each, state) for each in node[1])
        if kind == Kind.AND:
            members = [self._ways(each, state) for each in node[1]]
            common = set(members[0]).intersection(*members)
            return _without_empty({after: POOL.and_(*[each[after] for each in members]) for after in common})
        if kind == Kind.WORDS:
            return self._ways(POOL.definition(item), state)
        if kind == Kind.EMPTY:
            return {}
        if kind == Kind.EPSILON:
            return {state: item}
        if kind in (Kind.REPEAT, Kind.COUNTED):
            unit = self._ways(node[1], state)
            if set(unit) <= {state}:
                make = POOL.repeat if kind == Kind.REPEAT else POOL.counted
                return _without_empty({state: make(unit.get(state, EMPTY), node[2], node[3])})
        if kind in (Kind.REPEAT, Kind.COUNTED, Kind.NOT, Kind.VERBATIM, Kind.MACHINE):
            return _without_empty({EPSILON: POOL.and_(item, POOL.concat(state, self._every_text))})
        return _without_empty({EPSILON: self._between(item)}) if state == EPSILON else {}

    def _between(self, item: int) -> int:
        """Of what begins and ends between characters."""
        kind, *rest = POOL.node(item)
        if kind == Kind.FRAME:
            return POOL.frame(self.of(rest[0]))
        if kind == Kind.CAPTURE:
            return POOL.capture(self.of(rest[0]), rest[1], rest[2].changed(self.of))
        assert kind == Kind.REF
        restricted = ("of these characters", self._characters, rest[0])
        if not POOL.is_defined(restricted):
            POOL.define(restricted, lambda: self.of(POOL.definition(item)))
        return POOL.ref(restricted)

    def _of_parts(self, parts: Sequence[int], start: int) -> dict[int, int]:
        """Of what stands one behind the other."""
        reached = [{start}]
        for part in parts[:-1]:
            reached.append({after for state in reached[-1] for after in self._ways(part, state)})
        behind = {state: self._ways(parts[-1], state) for state in reached[-1]}
        for part, states in zip(parts[-2::-1], reached[-2::-1], strict=True):
            behind = {
                state: _joined(
                    {end: POOL.concat(text, rest) for end, rest in behind[after].items()}
                    for after, text in self._ways(part, state).items()
                )
                for state in states
            }
        return behind[start]

    def _after(self, state: int) -> dict[int, int]:
        """The bytes that may follow a state, as masks, by the state behind them."""
        known = self._moves.get(state)
        if known is None:
            known = self._moves[state] = {}
            here = self._character if state == EPSILON else state
            for byte in range(256):
                after = POOL.derivative(here, byte)
                if after != EMPTY:
                    known[after] = known.get(after, 0) | 1 << byte
        return known


def _parts(item: int) -> list[int]:
    parts = []
    while (node := POOL.node(item))[0] == Kind.CAT:
        parts.append(node[1])
        item = node[2]
    return [*parts, item]


def _joined(ways: Iterable[dict[int, int]]) -> dict[int, int]:
    found: dict[int, list[int]] = {}
    for each in ways:
        for after, text in each.items():
            found.setdefault(after, []).append(text)
    return {after: POOL.alt(*texts) for after, texts in found.items()}


def _without_empty(ways: dict[int, int]) -> dict[int, int]:
    return {after: text for after, text in ways.items() if text != EMPTY}
