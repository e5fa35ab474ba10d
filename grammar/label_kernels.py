"""How long labels of host names are once encoded (RFC 3492), and names read from tokens until they are too long."""

from __future__ import annotations

import numpy as np

from .machine_code import compiled, compiled_as

LONGEST_LABEL, LONGEST_NAME = 63, 253
"""Octets of a label, and of a name, once encoded."""

TOO_LONG, COMPLETE, INSIDE = 0, 1, 2
"""Of a text: no name may begin so; it ends between characters; it ends inside of one."""

_BASE, _LEAST, _MOST, _SKEW, _DAMP = 36, 1, 26, 38, 700
_FIRST_CODE, _FIRST_BIAS = 0x80, 72
_NO_CODE = 1 << 30
_KATAKANA_DOT = 0x30FB
_PREFIX = 4  # of encoded labels
_ROOM = 80  # characters of a label, and some more
_MOST_READ = LONGEST_NAME + 3  # characters of a text until a name is too long


@compiled_as("int64(uint64)")
def _ones(bits: np.uint64) -> int:
    """How many bits are set."""
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))  # pyright: ignore[reportReturnType]


@compiled_as("int64(int64[::1], int64, int64)")
def octets(codes: np.ndarray, n: int, most: int) -> int:
    """Octets of a label of n characters, encoded unless all are of ASCII.

    Of one that has more than `most`: the code of the last character that was encoded, or less, as a number below 0.
    """
    if n > LONGEST_LABEL:
        return -1
    order = np.empty(_ROOM, np.int64)  # of the characters outside of ASCII: their codes, ascending, with their places
    others, handled = 0, 0
    written = np.uint64(0)  # places of what is encoded
    for i in range(n):
        if codes[i] < _FIRST_CODE:
            written |= np.uint64(1) << np.uint64(i)
            handled += 1
        else:
            key, at = codes[i] << 6 | i, others
            while at > 0 and order[at - 1] > key:
                order[at] = order[at - 1]
                at -= 1
            order[at] = key
            others += 1
    if others == 0:
        return n if n <= most else -1
    count = _PREFIX + handled + (1 if handled else 0)
    code, bias, place = _FIRST_CODE, _FIRST_BIAS, 0
    for i in range(others):
        if count + others - i > most:  # each asks for a digit
            return -code
        further = order[i] >> 6
        before = _ones(written & ((np.uint64(1) << np.uint64(order[i] & 63)) - np.uint64(1)))
        delta = (further - code) * (handled + 1) + before - place
        code, place = further, before + 1
        written |= np.uint64(1) << np.uint64(order[i] & 63)
        rest, at = delta, _BASE
        while True:
            limit = min(max(at - bias, _LEAST), _MOST)
            count += 1
            if rest < limit:
                break
            rest = (rest - limit) // (_BASE - limit)
            at += _BASE
        delta = delta // _DAMP if i == 0 else delta // 2
        handled += 1
        delta += delta // handled
        bias = 0
        while delta > (_BASE - _LEAST) * _MOST // 2:
            delta //= _BASE - _LEAST
            bias += _BASE
        bias += (_BASE - _LEAST + 1) * delta // (delta + _SKEW)
    return count if count <= most else -code


@compiled_as("int64(int64[::1], int64, int64[:, ::1], int64, int64, int64)")
def first_that_fits(codes: np.ndarray, n: int, runs: np.ndarray, low: int, high: int, most: int) -> int:
    """The first character from `low` to `high` in some runs with which a label has at most so many octets; -1: none.

    codes: (n + 1,) or more, its last is written to. runs: (runs, 2), ascending.
    """
    for run in range(len(runs)):
        code, last = max(runs[run, 0], low), min(runs[run, 1], high)
        while code <= last:
            codes[n] = code
            found = octets(codes, n + 1, most)
            if found >= 0:
                return code
            further = _NO_CODE
            if -found <= code:  # its own number is too long, as are those up to the next character that is there
                for i in range(n):
                    if code < codes[i] < further:
                        further = codes[i]
            code = further if -found <= code else code + 1
    return -1


@compiled
def _byte(begun: np.ndarray, text: np.ndarray, start: int, at: int) -> int:
    return np.int64(begun[len(begun) + at]) if at < 0 else np.int64(text[start + at])  # pyright: ignore[reportReturnType]


@compiled
def _hex(begun: np.ndarray, text: np.ndarray, start: int, at: int) -> int:
    value = 0
    for i in range(4):
        byte = _byte(begun, text, start, at + i)
        value = value << 4 | (byte - 0x30 if byte < 0x40 else (byte | 0x20) - 0x57)
    return value


@compiled
def _character(begun: np.ndarray, text: np.ndarray, start: int, size: int, at: int) -> tuple[int, int]:
    """The character at a place of `begun` and a text, which counts from where the text begins; and the place behind."""
    first = _byte(begun, text, start, at)
    if first == 0x5C:
        if at + 6 > size:
            return 0, at + 6
        high = _hex(begun, text, start, at + 2)
        if not 0xD800 <= high < 0xDC00:
            return high, at + 6
        if at + 12 > size:
            return 0, at + 12
        return 0x10000 + (high - 0xD800 << 10) + _hex(begun, text, start, at + 8) - 0xDC00, at + 12
    if first < 0x80:
        return first, at + 1
    more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
    if at + 1 + more > size:
        return 0, at + 1 + more
    code = first & (0x3F >> more)
    for i in range(more):
        code = code << 6 | (_byte(begun, text, start, at + 1 + i) & 0x3F)
    return code, at + 1 + more


@compiled_as("void(int64[::1], int64, uint8[::1], uint8[::1], int64[::1], int64[::1], int8[::1])")
def read_all(
    label: np.ndarray,
    used: int,
    begun: np.ndarray,
    text: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    found: np.ndarray,
) -> None:
    """What becomes of a name by each of some texts: TOO_LONG, COMPLETE or INSIDE, into `found`.

    label: characters of the label that is open. used: octets of those before it, with their dots. begun: bytes of a
    character that is open. text, starts, ends: the texts, the best in order: what begins like one that is too long is,
    too. All are of characters that may stand in names, as JSON spells them.
    """
    line = np.empty(len(label) + _MOST_READ, np.int64)  # the label, and the characters of a text behind it
    line[: len(label)] = label
    longer = np.full(_ROOM, -2, np.int64)  # octets of the label with so many more characters of ASCII
    # Of a text's first characters: where they end, where the label begins in `line`, octets before it, its own, and
    # whether all are of ASCII and in the label that was open.
    read = np.zeros((_MOST_READ, 5), np.int64)
    read[0, 0], read[0, 2], read[0, 3] = -len(begun), used, octets(line, len(label), LONGEST_LABEL)
    read[0, 4] = 1
    depth, before, known, is_dead = 0, 0, 0, False  # of the text before; of its `known` bytes it is known what they are
    for each in range(len(starts)):
        start, size = starts[each], ends[each] - starts[each]
        same, most = 0, min(size, known)
        while same < most and text[start + same] == text[before + same]:
            same += 1
        if is_dead and same == known:
            found[each] = TOO_LONG
            continue
        while read[depth, 0] > same:
            depth -= 1
        before, known, is_dead, verdict = start, size, False, COMPLETE
        while read[depth, 0] < size:
            code, after = _character(begun, text, start, size, read[depth, 0])
            if after > size:
                verdict = INSIDE
                break
            end, first, total = len(label) + depth, read[depth, 1], read[depth, 2]
            is_plain = read[depth, 4] != 0 and code < _FIRST_CODE
            line[end] = code
            if code == 0x2E or code == 0x3002 or code == 0xFF0E or code == 0xFF61:
                total += read[depth, 3] + 1
                first, now, is_plain = end + 1, 0, False
            elif end >= first + LONGEST_LABEL:
                now = -1
            elif is_plain:
                if longer[depth + 1] == -2:
                    longer[depth + 1] = max(octets(line, end + 1, LONGEST_LABEL), -1)
                now = longer[depth + 1]
            else:
                now = octets(line[first:], end + 1 - first, LONGEST_LABEL)
            if now < 0 or total + max(now, 1) > LONGEST_NAME:
                verdict, is_dead, known = TOO_LONG, True, after
                break
            depth += 1
            read[depth, 0], read[depth, 1], read[depth, 2], read[depth, 3] = after, first, total, now
            read[depth, 4] = is_plain
        found[each] = verdict


@compiled_as("void(uint8[::1], int64[::1], int64[:, ::1], int64[:, ::1])")
def count_all(text: np.ndarray, starts: np.ndarray, runs: np.ndarray, found: np.ndarray) -> None:
    r"""Of each of some texts at least as many characters of ASCII as a label may get by it, others, and their run.

    Its parts count as one, and `\\` as a character anywhere. What is left of one at the beginning counts for what was
    open before. runs: (runs, 2), first and last characters, the last run of all. found: (n, 4); with no others the run
    is `len(runs)`; behind it whether the text has a katakana dot or an escape, which may be one.
    """
    anywhere = len(runs) - 1
    for each in range(len(found)):
        plain, others, low, high, is_whole, may_have_dot = 0, 0, _NO_CODE, -1, True, 0
        at, end = starts[each], starts[each + 1]
        while at < end:
            first = text[at]
            plain += first < 0x80
            if first == 0x5C or first >= 0xC0:
                others += 1
            may_have_dot |= first == 0x5C
            if first == 0x5C or 0x80 <= first < 0xC0:
                is_whole = False
            size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            if at + size > end:
                is_whole = False
            elif size > 1:
                code, _ = _character(text[:0], text, at, size, 0)
                low, high = min(low, code), max(high, code)
                may_have_dot |= code == _KATAKANA_DOT
            at += size
        found[each, 0], found[each, 1], found[each, 2] = plain, others, anywhere if others else anywhere + 1
        found[each, 3] = may_have_dot
        for run in range(len(runs)):
            if is_whole and others and runs[run, 0] <= low and high <= runs[run, 1]:
                found[each, 2] = run
                break


@compiled_as("int64(int32[:, ::1], int64, uint8[::1], int64[::1], int64[::1], int32[::1], int64[:, ::1])")
def ends_of(
    transitions: np.ndarray,
    state: int,
    text: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    found: np.ndarray,
    missing: np.ndarray,
) -> int:
    """The state in which each of some texts ends, from one of a DFA; and how many transitions are not known.

    missing: for these the state and the byte; the texts they are in have found -1.
    """
    n_missing = 0
    for each in range(len(starts)):
        now = state
        for at in range(starts[each], ends[each]):
            after = transitions[now, text[at]]
            if after < 0:
                missing[n_missing, 0], missing[n_missing, 1] = now, text[at]
                n_missing += 1
            now = after
            if after <= 0:
                break
        found[each] = now
    return n_missing
