"""The `format`s of strings that are enforced, as regular expressions.

A format is an assertion here: output that breaks it is not possible. The expressions match the text between the quotes
as JSON writes it without needless escapes, so `"` is spelled `\\"`. Sources: RFC 3339 (dates, times, durations),
RFC 5321 (email), RFC 1123 (hostname), RFC 4291 (ipv6), RFC 3986 and 3987 (uri, iri), RFC 6570 (uri-template),
RFC 6901 (json-pointer), RFC 9562 (uuid).

All that is let through is valid. Left out, though valid: what `format_hosts.py` and `format_regex.py` say.
"""

from __future__ import annotations

from collections.abc import Callable

from . import format_hosts, format_regex
from .expr import POOL
from .pools import memo
from .regex import compile_pattern

# -- dates and times ------------------------------------------------------------------------------------------

_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[048]|[2468][048]|[13579][26])00)"
_YEAR = "[0-9]{4}"
_LONG_MONTH = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
_SHORT_MONTH = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_DAY = f"(?:{_LONG_MONTH}|{_SHORT_MONTH}|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_HOUR, _MINUTE, _SUBSECOND = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]", r"(?:\.[0-9]+)?"
_LOCAL_TIME = f"{_HOUR}:{_MINUTE}:{_MINUTE}{_SUBSECOND}"
_OFFSET = f"[+-]{_HOUR}:{_MINUTE}"


@memo
def _leap_seconds() -> int:
    """The last second of a day of UTC that has one more, as clocks of every offset show it."""
    second = compile_pattern(f":60{_SUBSECOND}", mode="fullmatch", encoding="utf8")
    times = []
    for local in range(24 * 60):
        east, west = (local + 1) % (24 * 60), (24 * 60 - 1 - local) % (24 * 60)  # minutes from the last of a day of UTC
        offsets = [POOL.literal(f"+{_clock(east)}".encode()), POOL.literal(f"-{_clock(west)}".encode())]
        offsets += [POOL.literal(b"Z"), POOL.literal(b"z")] if west == 0 else []
        times.append(POOL.concat(POOL.literal(_clock(local).encode()), second, POOL.alt(*offsets)))
    return POOL.alt(*times)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


_USUAL_TIME = f"{_LOCAL_TIME}(?:[Zz]|{_OFFSET})"
_WIDER_TIME = r"\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)"
_TIME_PART = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DATE_PART = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_DURATION = f"P(?:[0-9]+W|{_DATE_PART}(?:{_TIME_PART})?|{_TIME_PART})"

# -- addresses ------------------------------------------------------------------------------------------------

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"


def _ipv6() -> str:
    """Eight groups, of which one run may be left out as `::`; the last two may be written as IPv4."""
    last = f"(?:{_GROUP}:{_GROUP}|{_IPV4})"
    forms = [f"(?:{_GROUP}:){{6}}{last}"]
    for before in range(8):
        lead = f"(?:{_GROUP}(?::{_GROUP}){{0,{before - 1}}})?" if before else ""
        after = 7 - before  # groups that may follow the gap, when `before` may precede it
        tails = [f"(?:{_GROUP}:){{{after - 2}}}{last}"] if after >= 2 else []
        tails += [_GROUP] if after == 1 else []
        forms += [f"{lead}::{tail}" for tail in tails or [""]]
    return "(?:" + "|".join(forms) + ")"


_IPV6 = _ipv6()
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_QUOTED = r'\\"(?:[ !#-\[\]-~]|\\\\(?:[ !#-\[\]-~]|\\"|\\\\))*\\"'


_LOCAL_PART = rf"{_ATOM}(?:\.{_ATOM})*"
_ADDRESS = rf"@\[(?:{_IPV4}|IPv6:{_IPV6})\]"


# -- identifiers ----------------------------------------------------------------------------------------------

_UCS = (
    "\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef"
    "\U00010000-\U0001fffd\U00020000-\U0002fffd\U00030000-\U0003fffd\U00040000-\U0004fffd\U00050000-\U0005fffd"
    "\U00060000-\U0006fffd\U00070000-\U0007fffd\U00080000-\U0008fffd\U00090000-\U0009fffd\U000a0000-\U000afffd"
    "\U000b0000-\U000bfffd\U000c0000-\U000cfffd\U000d0000-\U000dfffd\U000e1000-\U000efffd"
)
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_ESCAPED = "%[0-9A-Fa-f]{2}"


def _reference(ucs: str, private: str, *, absolute: bool) -> str:
    """RFC 3986's URI, or with absolute=False URI-reference; with more characters, RFC 3987's IRI."""
    plain = f"A-Za-z0-9._~!$&'()*+,;={ucs}-"
    char = f"(?:[:@{plain}]|{_ESCAPED})"
    first_without_colon = f"(?:[@{plain}]|{_ESCAPED})+"
    host = rf"(?:\[(?:{_IPV6}|[Vv][0-9A-Fa-f]+\.[:A-Za-z0-9._~!$&'()*+,;=-]+)\]|(?:[{plain}]|{_ESCAPED})*)"
    authority = f"(?:(?:[:{plain}]|{_ESCAPED})*@)?{host}(?::[0-9]*)?"
    rest = f"(?:/{char}*)*"
    rooted = f"//{authority}{rest}|/(?:{char}+{rest})?"
    end = rf"(?:\?(?:[/?{private}]|{char})*)?(?:#(?:[/?]|{char})*)?"
    whole = f"[A-Za-z][A-Za-z0-9+.-]*:(?:{rooted}|{char}+{rest}|){end}"
    return whole if absolute else f"(?:{whole}|(?:{rooted}|{first_without_colon}{rest}|){end})"


_NAME_CHAR = f"(?:[A-Za-z0-9_]|{_ESCAPED})"
_VARIABLE = rf"{_NAME_CHAR}(?:\.?{_NAME_CHAR})*(?::[1-9][0-9]{{0,3}}|\*)?"
_TEMPLATE = rf"(?:[!#$&-;=?-\[\]_a-z~{_UCS}{_PRIVATE}]|{_ESCAPED}|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}})*"

_RAW = {
    "date": _DATE,
    "duration": _DURATION,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uri": _reference("", "", absolute=True),
    "uri-reference": _reference("", "", absolute=False),
    "uuid": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}

_WIDER = {
    "date-time": rf"\d{{4}}-\d\d-\d\d[Tt]{_WIDER_TIME}",
    "email": r"(?:.|\n)+@.+",
    "hostname": r"[A-Za-z0-9.-]+",
    "idn-email": r"(?:.|\n)*",
    "idn-hostname": r"(?:.|\n)*",
    "regex": r"(?:.|\n)*",
    "time": _WIDER_TIME,
}

_POINTER = "(?:/(?:[^/~]|~[01])*)*"
_ANY_SPELLING = {
    "iri": _reference(_UCS, _PRIVATE, absolute=True),
    "iri-reference": _reference(_UCS, _PRIVATE, absolute=False),
    "uri-template": _TEMPLATE,
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})",
}
"""Formats of any characters, so that escapes are needed."""

_BUILT: dict[str, Callable[[], int]] = {
    "date-time": lambda: POOL.concat(compile_pattern(f"{_DATE}[Tt]", mode="fullmatch", encoding="utf8"), _time()),
    "email": lambda: _email(),
    "hostname": format_hosts.hostname,
    "idn-email": format_hosts.idn_email,
    "idn-hostname": format_hosts.idn_hostname,
    "regex": format_regex.any_regex,
    "time": lambda: _time(),
}
"""Formats that are more than a regular expression."""

NAMES = tuple(sorted({**_RAW, **_ANY_SPELLING, **_BUILT}))
"""The formats that are enforced."""

OF_NUMBERS = frozenset({"double", "float", "int32", "int64", "uint32", "uint64", "int8", "int16", "uint8", "uint16"})
"""OpenAPI's formats of numbers, which are annotations."""


def is_known(name: str) -> bool:
    """Whether a format is enforced."""
    return name in NAMES


def body(name: str) -> int:
    """Strings of a known format, as what stands between their quotes: all that there are but those listed above."""
    return _COMMON[name] if name in _COMMON else _body(name)


@memo
def _body(name: str) -> int:
    if name in _BUILT:
        return _BUILT[name]()
    if name in _RAW:
        return compile_pattern(_RAW[name], mode="fullmatch", encoding="utf8")
    return compile_pattern(_ANY_SPELLING[name], mode="fullmatch", encoding="json")


@memo
def widest(name: str) -> int:
    """All strings of a known format, in any spelling, and some that are none: for what must not have the format."""
    texts = {**_RAW, **_ANY_SPELLING, **_WIDER}
    return compile_pattern(texts[name], mode="fullmatch", encoding="json")


@memo
def _time() -> int:
    return POOL.alt(compile_pattern(_USUAL_TIME, mode="fullmatch", encoding="utf8"), _leap_seconds())


def _email() -> int:
    local = compile_pattern(f"{_LOCAL_PART}|{_QUOTED}", mode="fullmatch", encoding="utf8")
    address = compile_pattern(_ADDRESS, mode="fullmatch", encoding="utf8")
    return POOL.concat(local, POOL.alt(POOL.concat(POOL.literal(b"@"), format_hosts.hostname()), address))


_COMMON = {
    name: _body(name) for name in ("date", "date-time", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
}  # made once, so that no schema waits for them
