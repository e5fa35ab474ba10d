"""How long international labels may become once encoded, by how many characters they have of which range.

Source: RFC 3492. What each number is depends on where characters stand; how many digits it has at most does not.
"""

from __future__ import annotations

from functools import cache

from .idna import LONGEST, PREFIX
from .punycode import BASE, FIRST_BIAS, FIRST_CODE, threshold

_LONGEST_NUMBER = 8  # digits; none is longer, as a label of 63 characters up to U+3FFFF asks for less
_LAST_BIAS = BASE * _LONGEST_NUMBER  # of those behind it, numbers have the same thresholds


@cache
def fits(plain: int, others: int, low: int, high: int) -> bool:
    """Whether every label of so many characters of ASCII and others, from `low` to `high`, is short enough encoded."""
    hyphen = plain > 0
    return len(PREFIX) + plain + hyphen + most_digits(plain, others, low, high) <= LONGEST


def most_digits(plain: int, others: int, low: int, high: int) -> int:
    """A bound on the digits that encode characters from `low` to `high` among so many of ASCII.

    Characters are inserted in ascending order. A number is how far its character is from the one before, times the size
    that the label has then, and less than that much more. So it is less than the distance plus one, times the size; and
    the distances behind the first sum up to `high - low` at most.
    """
    if not others:
        return 0
    first = (high - FIRST_CODE + 1) * (plain + 1) - 1
    digits = next(size for size in range(1, _LONGEST_NUMBER) if first < _first_longer(FIRST_BIAS, size))
    return digits + _most_behind(others - 1, plain + others, high - low)


def _most_behind(count: int, size: int, distance: int) -> int:
    """A bound on the digits of so many numbers while labels have at most `size` characters, by their summed distance.

    Each digit more asks for more distance than the one before: so the most come of one more for all, as far as it goes.
    """
    digits, able, before = count, count, 0
    for least in least_numbers():
        needed = max(before, -(-(least + 1) // size) - 1)
        if needed > before:
            able = min(able, distance // (needed - before))
            distance -= able * (needed - before)
        digits += able
        before = needed
    return digits


@cache
def least_numbers() -> tuple[int, ...]:
    """The least number of 2 digits, whatever the bias, of 3, and so on."""
    found = []
    for size in range(1, _LONGEST_NUMBER):
        found.append(min(_first_longer(bias, size) for bias in range(_LAST_BIAS + 1)))
    return tuple(found)


@cache
def _first_longer(bias: int, size: int) -> int:
    """The least number of more than `size` digits."""
    number, weight = 0, 1
    for place in range(1, size + 1):
        number += threshold(bias, place) * weight
        weight *= BASE - threshold(bias, place)
    return number
