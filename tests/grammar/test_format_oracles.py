"""Formats against slow, obvious readings of their grammars: valid texts, and texts changed in one place."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import formats
from rootform.grammar.expr import POOL
from rootform.grammar.schema_strings import inside_quotes


def is_duration(text: str) -> bool:
    """RFC 3339, appendix A: units in their order, none left out between two, at least one; or weeks alone."""
    if re.fullmatch("P[0-9]+W", text):
        return True
    date, _, time = text[1:].partition("T")
    if text[:1] != "P" or (not time and text[-1:] in ("T", "P")):
        return False
    return all(_is_run(part, units) for part, units in ((date, "YMD"), (time, "HMS")))


def _is_run(text: str, units: str) -> bool:
    found = re.findall("([0-9]+)([A-Z])", text)
    if "".join(number + unit for number, unit in found) != text:
        return False
    return "".join(unit for _, unit in found) in {units[i:j] for i in range(4) for j in range(i, 4)}


def is_date(text: str) -> bool:
    """RFC 3339, section 5.7; of the year 0 as of 2000, which is as long."""
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        datetime.date.fromisoformat("2000" + text[4:] if text.startswith("0000") else text)
    except ValueError:
        return False
    return True


def is_time(text: str) -> bool:
    """RFC 3339, sections 5.6 and 5.7."""
    found = re.fullmatch(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))", text)
    if not found:
        return False
    hour, minute, second = map(int, found.group(1, 2, 3))
    east = -1 if found[4] == "-" else 1
    far = [int(found[5] or 0), int(found[6] or 0)]
    if hour > 23 or minute > 59 or second > 60 or far[0] > 23 or far[1] > 59:
        return False
    return second < 60 or (hour * 60 + minute - east * (far[0] * 60 + far[1])) % 1440 == 1439


def is_moment(text: str) -> bool:
    """RFC 3339, section 5.6."""
    return text[10:11] in ("T", "t") and is_date(text[:10]) and is_time(text[11:])


def is_address(text: str) -> bool:
    """RFC 2673, section 3.2."""
    parts = text.split(".")
    return len(parts) == 4 and all(re.fullmatch("0|[1-9][0-9]{0,2}", part) and int(part) < 256 for part in parts)


def is_id(text: str) -> bool:
    """RFC 9562, section 4."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        char in "0123456789abcdefABCDEF" for part in parts for char in part
    )


def is_pointer(text: str) -> bool:
    """RFC 6901, section 3."""
    if text and text[0] != "/":
        return False
    return all(text[i + 1 : i + 2] in ("0", "1") for i, char in enumerate(text) if char == "~")


def is_relative_pointer(text: str) -> bool:
    """draft-bhutton-relative-json-pointer-00, section 3, without what moves an index."""
    digits = re.match("0|[1-9][0-9]*", text)
    if digits is None:
        return False
    rest = text[digits.end() :]
    return rest == "#" or is_pointer(rest)


TWO = st.integers(0, 61).map("{:02}".format)
DATES = st.dates().map(str) | st.builds("{}-{}-{}".format, st.sampled_from(["0000", "1900", "2024"]), TWO, TWO)
ZONES = st.sampled_from(["Z", "z"]) | st.builds("{}{}:{}".format, st.sampled_from("+-"), TWO, TWO)
TIMES = st.builds("{}:{}:{}{}{}".format, TWO, TWO, TWO, st.sampled_from(["", ".5", ".", ".012"]), ZONES)
POINTERS = st.lists(st.sampled_from(["", "a", "~0", "~1b", "é", "#", '"', "~", "0"])).map(
    lambda parts: "".join("/" + part for part in parts)
)
DURATIONS = st.builds(
    "P{}{}".format,
    st.from_regex("([0-9]{1,2}[YMDW]){0,3}", fullmatch=True),
    st.from_regex("(T([0-9][HMS]){0,3})?", fullmatch=True),
)
CASES = {
    "date": (is_date, DATES),
    "time": (is_time, TIMES),
    "date-time": (is_moment, st.builds("{}{}{}".format, DATES, st.sampled_from("Tt "), TIMES)),
    "duration": (is_duration, DURATIONS),
    "ipv4": (is_address, st.lists(st.integers(0, 300).map(str), min_size=3, max_size=5).map(".".join)),
    "uuid": (is_id, st.uuids().map(str) | st.uuids().map(lambda each: str(each).upper())),
    "json-pointer": (is_pointer, POINTERS),
    "relative-json-pointer": (
        is_relative_pointer,
        st.builds("{}{}".format, st.sampled_from(["0", "1", "10", "01", ""]), POINTERS | st.just("#")),
    ),
}


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_formats_are_as_their_grammars_read(name: str, data: st.DataObject) -> None:
    holds, texts = CASES[name]
    text = data.draw(texts)
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.sampled_from(["", "0", "9", "-", ":", "T", "/", "~", "."])) + text[at + 1 :]
    for each in (text, changed):
        assert POOL.fullmatch(formats.body(name), inside_quotes(each)) == holds(each), each
