"""Looks behind by one character, cut into what is before them: against `re`, and beside counts that were refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import Encoding
from rootform.grammar.expr import POOL
from rootform.grammar.regex import Mode, compile_pattern

TEXTS = ["".join(letters) for n in range(5) for letters in itertools.product("a-\n", repeat=n)]
URL = r"[-a-zA-Z0-9@:%._\+~#=]{1,256}\.[a-zA-Z0-9()]{1,6}\b([-a-zA-Z0-9()@:%_\+.~#?&//=]*)"
SLUG = r"(?:(?<owner>(?!-)(?!.{0,32}--)[a-z0-9-]{1,32}(?<!-))\/)?(?<name>(?!-)(?!.{0,32}--)[a-z0-9-]{1,32}(?<!-))"

plain = st.recursive(
    st.sampled_from(["a", "-", "a-", "[a-]", r"\w", r"\W", ".", "", "(?!-)", "(?=a)"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "{1,3}", "{4,6}"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=4,
)
places = st.sampled_from([r"\b", r"\B", "(?<!-)", "(?<=a)", "(?<![a-])", "(?<=a|-)", "(?<=^|-)", "(?<=a-?)", "^", "$"])
patterns = st.lists(st.one_of(places, plain, st.tuples(places, plain).map(lambda p: f"(?:{p[0]}|{p[1]})")), max_size=5)


@settings(max_examples=100, deadline=None)
@given(parts=patterns, flags=st.sampled_from(["(?a)", "(?am)"]), encoding=st.sampled_from(["utf8", "json"]))
def test_looks_behind_agree(parts: list[str], flags: str, encoding: Encoding) -> None:
    pattern = flags + "".join(parts)
    compiled = regex.compile(pattern)
    modes: list[tuple[Mode, Callable[[str], object]]] = [("search", compiled.search), ("fullmatch", compiled.fullmatch)]
    for mode, match in modes:
        expression = compile_pattern(pattern, mode=mode, encoding=encoding, dialect="python")
        for text in TEXTS:
            written = text if encoding == "utf8" else text.replace("\n", r"\u000a")
            assert POOL.fullmatch(expression, written.encode()) == bool(match(text)), (mode, text)


@pytest.mark.parametrize(
    ("before", "behind"), [("", ""), (r"https?:\/\/(www\.)?", ""), ("^", "$"), (r"^https?:\/\/", "$")]
)
def test_urls_with_a_boundary_beside_a_count(before: str, behind: str) -> None:
    """The commonest pattern of URLs: 20,000 states and more, were each count told apart from each boundary."""
    pattern = before + URL + behind
    expression = compile_pattern(pattern, mode="search", encoding="json")
    hosts = [
        "a.b",
        "example.org",
        "x" * 250 + ".com",
        "x" * 256 + ".com",
        "x" * 257 + ".com",
        "a.b()",
        "a.(",
        "a._",
        "a.",
    ]
    for host, rest in itertools.product(hosts, ["", "/", "/a?b=c#d", " e", "é", "--"]):
        for scheme in ("", "http://", "https://www.", "ftp://"):
            text = scheme + host + rest
            assert POOL.fullmatch(expression, text.encode()) == bool(re.search(pattern, text, re.ASCII)), text


def test_names_that_do_not_end_with_a_hyphen_beside_counts() -> None:
    pattern = f"^{SLUG}$"
    compiled = re.compile(pattern.replace("(?<owner>", "(").replace("(?<name>", "("), re.ASCII)
    expression = compile_pattern(pattern, mode="search", encoding="json")
    parts = ["", "-", "a", "a-", "-a", "a-b", "a--b", "a" * 32, "a" * 33, "a" * 31 + "-", "a-" * 15 + "b"]
    for text in [*parts, *(f"{a}/{b}" for a in parts for b in parts)]:
        assert POOL.fullmatch(expression, text.encode()) == bool(compiled.search(text)), text
