"""Formats: examples of each, and every shortest text checked by the standard library."""

import datetime
import ipaddress
import json
import re
import unicodedata
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import formats
from rootform.grammar.expr import POOL
from rootform.grammar.schema_strings import inside_quotes

EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "date": (
        ["2024-02-29", "2000-02-29", "0001-12-31", "0000-02-29"],
        ["2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "24-01-01"],
    ),
    "date-time": (
        ["2024-02-29T23:59:59.5Z", "2024-01-01t00:00:00+05:30"],
        ["2024-01-01 00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00"],
    ),
    "time": (
        ["12:00:00Z", "23:59:60Z", "01:02:03.004-08:00", "15:59:60-08:00", "05:29:60.5+05:30", "12:49:60+12:50"],
        ["12:00:00", "22:59:60Z", "12:49:60-12:50", "15:59:60+08:00", "1:00:00Z", "12:60:00Z"],
    ),
    "duration": (["P3Y6M4DT12H30M5S", "PT0S", "P2W", "P1M"], ["P", "PT", "P1Y2W", "PT1D", "P1D2H", "PT1H1S", "1D"]),
    "email": (
        ["a@b.c", "joe+x@example.com", '"a b\\"c"@example.com', "a@[127.0.0.1]"],
        ["a", "a@", "@b", "a b@c", ".a@b", "a..b@c", "a@-b"],
    ),
    "hostname": (
        ["a", "example.com", "1.2", "a-b.c", "a" * 63],
        ["", "-a", "a-", "a..b", "a_b", "a" * 64, ".".join(["a" * 63] * 4)],
    ),
    "ipv4": (["0.0.0.0", "255.255.255.255"], ["256.0.0.0", "1.2.3", "01.2.3.4", "1.2.3.4.5"]),
    "ipv6": (
        ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::"],
        [":", "1:2:3", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "::1.2.3"],
    ),
    "uuid": (
        ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
        ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4aa-73b441d1638g"],
    ),
    "uri": (
        ["http://a.b/c?d=e#f", "urn:isbn:1", "mailto:a@b", "http://[::1]:80/"],
        ["//a/b", "a b:c", "http://a b", "/a", "http://é"],
    ),
    "uri-reference": (["", "/a", "//a/b", "a?b#c", "http://a"], ["a b", "\\a", "1:2", "é"]),
    "iri": (["http://é.com/ü"], ["é", "http://a b"]),
    "iri-reference": (["é", "/ü?x#é"], ["a b", "\\"]),
    "uri-template": (["http://a/{b}/{+c,d*}{?e:3}"], ["{", "{a", "a}", "{a b}"]),
    "json-pointer": (["", "/", "/a~1b/0", '/"'], ["a", "/~", "/~2"]),
    "relative-json-pointer": (["0", "1/a", "2#"], ["/a", "01", "-1"]),
    "idn-hostname": (
        [
            "a",
            "example.com",
            "실례.테스트",
            "straße.de",
            "l·l",
            "\u0375β",
            "א\u05f3ב",
            "ア・",
            "\u0915\u094d\u200dख",
            "بيت",
            "بي\u200cبي",
            "xn--ihqwcrb4cv8a8dqg056pqjye",
        ],
        [
            "",
            "-ü",
            "ü-",
            "ü..b",
            "aü--b",
            "xn--zz",
            "a·l",
            "\u0375S",
            "\u0660\u06f0",
            "a\u200db",
            "بa",
            "0a.بيت",
            "Ü",
            "e\u0301",
        ],
    ),
    "idn-email": (["실례@실례.테스트", "a@b.c", '"ü b"@c'], ["ü", "@ü", "a@-ü", "a@b"[:2], "a\uff20b"]),
    "regex": (
        [
            "",
            "^a$",
            "([abc])+\\s+$",
            "(a(b(c)))*",
            "[a-z]{2,4}?",
            "(?=a)b",
            "\\p{L}+",
            "\\u{1F600}",
            "[\\w-]",
            "\\0a",
            "é",
            '"',
            "(?<name>x)",
            "(?<n>a)\\k<n>",
            "((?:a)(b))(c)\\1[x](\\2(?=\\1))\\3{2}",
            "(a)\\1b(?<year_1>(?:c))(?<=d)",
        ],
        [
            "(a)\\2",
            "(a)\\10",
            "(a\\1",
            "(?:a)\\1",
            "\\1",
            "(?<n>a)\\k<m>",
            "(?<n>a)(?<n>b)",
            "(?<1>a)",
            "\\k<n>",
            "(?<nn>a)\\k<n>",
            "^(abc]",
            "*",
            "\\",
            "a**",
            "[z-a]",
            "a{3,2}",
            "(?P<a>b)",
            "(?i)a",
            "\\Z",
            "\\01",
            "a{",
            "[",
            "(?",
            ")",
            "\\p{Foo}",
        ],
    ),
}


def accepts(name: str, text: str) -> bool:
    return POOL.fullmatch(formats.body(name), inside_quotes(text))


@pytest.mark.parametrize("name", formats.NAMES)
def test_examples(name: str) -> None:
    good, bad = EXAMPLES[name]
    assert [text for text in good if not accepts(name, text)] == []
    assert [text for text in bad if accepts(name, text)] == []


@settings(deadline=None)
@given(st.dates())
def test_every_date(date: datetime.date) -> None:
    assert accepts("date", date.isoformat())


@settings(deadline=None)
@given(year=st.integers(1, 9999), month=st.integers(0, 13), day=st.integers(0, 32))
def test_dates_that_exist_and_no_others(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        datetime.date.fromisoformat(text)
        exists = True
    except ValueError:
        exists = False
    assert accepts("date", text) == exists


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(datetime.UTC)))
def test_every_moment(moment: datetime.datetime) -> None:
    assert accepts("date-time", moment.isoformat())


@settings(deadline=None)
@given(st.integers(-1439, 1439), st.sampled_from(["", ".5", "."]), st.integers(0, 9), st.booleans())
def test_leap_seconds_end_a_day_of_utc(offset: int, fraction: str, minute: int, is_changed: bool) -> None:
    """RFC 3339, 5.7, at every offset; by section 5.6 alone any time might end in :60."""
    local = (23 * 60 + 59 + offset) % (24 * 60)
    shown = local // 10 * 10 + minute if is_changed else local
    sign, far = "-" if offset < 0 else "+", abs(offset)
    text = f"{shown // 60:02}:{shown % 60:02}:60{fraction}{sign}{far // 60:02}:{far % 60:02}"
    assert accepts("time", text) == (shown == local and fraction != ".")


@settings(max_examples=50, deadline=None)
@given(st.ip_addresses(v=6) | st.from_regex(r"[0-9a-f]{0,5}(:[0-9a-f]{0,4}){1,8}", fullmatch=True))
def test_ipv6_as_the_standard_library_has_it(address: ipaddress.IPv6Address | str) -> None:
    try:
        ipaddress.IPv6Address(str(address))
        valid = True
    except ValueError:
        valid = False
    assert accepts("ipv6", str(address)) == valid


@settings(max_examples=30, deadline=None)
@given(st.ip_addresses(v=4), st.uuids())
def test_addresses_and_ids(address: ipaddress.IPv4Address, identity: uuid.UUID) -> None:
    assert accepts("ipv4", str(address))
    assert accepts("uuid", str(identity))


@pytest.mark.parametrize("name", formats.NAMES)
def test_the_shortest_text_can_be_read_back(name: str) -> None:
    shortest = POOL.shortest(formats.body(name))
    assert shortest is not None
    assert isinstance(json.loads(b'"' + shortest + b'"'), str)


@pytest.mark.parametrize("name", formats.NAMES)
def test_what_must_not_have_a_format_has_none(name: str) -> None:
    for text in EXAMPLES[name][0]:
        escaped = "".join(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else char for char in text)
        assert POOL.fullmatch(formats.widest(name), inside_quotes(text)), text
        assert POOL.fullmatch(formats.widest(name), escaped.encode()), text


@given(st.lists(st.one_of(st.sampled_from(["a", "Z9", "-", "--", ".", "_"]), st.text("ab-", min_size=55, max_size=66))))
@settings(deadline=None)
def test_host_names_are_those_of_the_pattern(parts: list[str]) -> None:
    """RFC 1123 as a regular expression, and no label that is kept for encoded ones."""
    name = "".join(parts)
    label = "(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    fits = re.fullmatch(rf"{label}(?:\.{label})*", name) is not None and len(name) <= 253
    assert POOL.fullmatch(formats.body("hostname"), name.encode()) == fits


@given(st.text(st.sampled_from("alé1·-・ァ͵αא׳٠۰क्‍\u200dA."), max_size=9))
@settings(deadline=None, max_examples=300)
def test_international_names_are_as_their_rules_say(name: str) -> None:
    assert POOL.fullmatch(formats.body("idn-hostname"), name.encode()) == _is_international(name)


_MARKS = "\u0301\u0323\u0316\u0345\u064b\u064e\u0651\u0653\u093c\u094d\u3099"


@given(st.text(st.sampled_from("aáậ\u0628\u0627\u0915\u0928か" + _MARKS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=300)
def test_marks_of_international_names_are_in_normal_form(name: str) -> None:
    """All that is let through is, and all that is and has no marks that may be composed is let through."""
    accepted = accepts("idn-hostname", name)
    assert not accepted or unicodedata.is_normalized("NFC", name)
    right = {unicodedata.bidirectional(char) for char in name} & {"R", "AL"}
    if (
        unicodedata.combining(name[0])
        or (right and not _runs_right(name))
        or set("\u0301\u0323\u0345\u0653\u3099\u093c") & set(name)
    ):
        return
    assert accepted == unicodedata.is_normalized("NFC", name)


def _is_international(name: str) -> bool:
    """RFC 5890 to 5893, rule by rule, of names of these letters."""
    labels = name.split(".")
    plain = [_is_plain(label) for label in labels]
    if all(plain) and len(name) <= 253:
        return True
    if not any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in name):
        return all(map(_is_label_or_plain, labels))
    return all(_is_label_or_plain(label) and (_runs_right(label) or _runs_left(label)) for label in labels)


def _is_plain(label: str) -> bool:
    return re.fullmatch("(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) is not None


def _is_label_or_plain(label: str) -> bool:
    return _is_plain(label) or _is_label(label)


def _is_label(label: str) -> bool:
    if not label or "A" in label or label[0] == "-" or label[-1] == "-" or label[2:4] == "--":
        return False
    if unicodedata.category(label[0]).startswith("M"):
        return False
    for before, char, after in zip(" " + label, label, label[1:] + " ", strict=False):
        if char == "·" and (before, after) != ("l", "l"):
            return False
        if char == "͵" and after not in "͵α":
            return False
        if char == "׳" and before not in "א׳":
            return False
        if char == "\u200d" and unicodedata.combining(before) != 9:
            return False
    if "・" in label and "ァ" not in label:
        return False
    return not ("٠" in label and "۰" in label)


def _runs_left(label: str) -> bool:
    return _runs(label, ("L",), ("L", "EN"), "L EN ES CS ET ON BN NSM")


def _runs_right(label: str) -> bool:
    kinds = {unicodedata.bidirectional(char) for char in label}
    ends = ("R", "AL", "EN", "AN")
    return _runs(label, ("R", "AL"), ends, "R AL AN EN ES CS ET ON BN NSM") and not {"EN", "AN"} <= kinds


def _runs(label: str, first: tuple[str, ...], last: tuple[str, ...], inside: str) -> bool:
    kinds = [unicodedata.bidirectional(char) for char in label]
    ends = [kind for kind in kinds if kind != "NSM"]
    return bool(ends) and kinds[0] in first and ends[-1] in last and set(kinds) <= set(inside.split())
