"""Regexes against Python's `re`, interegular and outlines-core."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
import warnings

import interegular
import numpy as np
import outlines_core
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar import chars
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.regex import compile_pattern
from rootform.grammar.regex_lengths import lengths
from rootform.grammar.unicode_extensions import script_extensions
from rootform.grammar.unicode_properties import NAMES, binary_property
from rootform.grammar.unicode_scripts import script
from rootform.grammar.vocab import Vocabulary

leaves = st.sampled_from(["a", "b", "é", ".", "[ab]", "[^a]", r"\d", r"\w", r"\.", "", "[a-c1]", r"\x61", "(?i:B)"])
patterns = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+?", "?", "{2}", "{1,3}", "{,2}", "{4,6}"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=6,
)
texts = st.text("abBcé1._ \n", max_size=7)
anchored = st.tuples(
    st.sampled_from(["", "^", "(?=.b)", "(?!a)"]), patterns, st.sampled_from(["", r"\Z", "(?!b)", r"|^a\Z"])
)


@settings(max_examples=200, deadline=None)
@given(pattern=patterns, samples=st.lists(texts, min_size=10, max_size=10))
def test_fullmatch_agrees_with_re(pattern: str, samples: list[str]) -> None:
    expression = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    compiled = re.compile(pattern)
    for text in samples:
        assert POOL.fullmatch(expression, text.encode()) == bool(compiled.fullmatch(text)), text
    shortest = POOL.shortest(expression)
    assert shortest is not None
    assert compiled.fullmatch(shortest.decode())


@settings(max_examples=150, deadline=None)
@given(parts=anchored, samples=st.lists(texts, min_size=10, max_size=10))
def test_search_agrees_with_re(parts: tuple[str, str, str], samples: list[str]) -> None:
    pattern = "".join(parts)
    expression = compile_pattern(pattern, mode="search", encoding="utf8")
    for text in samples:
        assert POOL.fullmatch(expression, text.encode()) == bool(re.search(pattern, text)), text


look_leaves = st.sampled_from(
    [
        "a",
        "b",
        "[ab]",
        ".",
        r"\b",
        r"\B",
        "^",
        "$",
        r"\Z",
        "(?=a)",
        "(?!b.)",
        "(?<=a)",
        "(?<!b)",
        "(?<=^a)",
        "(?=.$)",
        "(?<=(?<!b)a)",
    ]
)
looks = st.recursive(
    look_leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "?", "{1,2}", "+?"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(pattern=looks, flags=st.sampled_from(["(?a)", "(?am)", "(?as)", "(?u)", "(?m)"]),
       samples=st.lists(st.text("abé \n", max_size=6), min_size=12, max_size=12))  # fmt: skip
def test_looks_anywhere_agree_with_re(pattern: str, flags: str, samples: list[str]) -> None:
    compiled = re.compile(flags + pattern)
    whole = compile_pattern(flags + pattern, mode="fullmatch", encoding="utf8")
    part = compile_pattern(flags + pattern, mode="search", encoding="utf8")
    for text in filter(None, samples):  # on the empty text `\B` changed its meaning with Python 3.14
        assert POOL.fullmatch(whole, text.encode()) == bool(compiled.fullmatch(text)), text
        assert POOL.fullmatch(part, text.encode()) == bool(compiled.search(text)), text
    shortest = POOL.shortest(whole)
    assert not shortest or compiled.fullmatch(shortest.decode())


start_leaves = st.sampled_from(
    ["a", "b?", ".", "^", "$", "(?=a)", "(?!^a)", "(?=^a|b)", "(?!^a$)", "(?!(?:^a|b$))", "(?!^(?:a|b)+$)", "(?!a^)",
     "(?!(?=^)b)", "(?=(?!^a).)", "(?<=a)", "(?:^|b)"]
)  # fmt: skip
starts = st.recursive(
    start_leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "?", "{1,2}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(pattern=starts, samples=st.lists(st.text("abé", max_size=5), min_size=12, max_size=12))
def test_the_start_inside_of_a_look_ahead(pattern: str, samples: list[str]) -> None:
    compiled = re.compile(pattern + r"\Z")
    whole = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    part = compile_pattern(pattern, mode="search", encoding="json", dialect="ecma")
    for text in samples:
        assert POOL.fullmatch(whole, text.encode()) == bool(compiled.match(text)), text
        assert POOL.fullmatch(part, text.encode()) == bool(re.search(pattern, text)), text


def test_patterns_of_real_schemas_with_the_start_inside_of_a_look_ahead() -> None:
    for pattern in ["^(?!^AWS::Serverless).*", "(?!^foo$)(^.*$)", r"^(?!^\d+$)^.+$", "(?!^(foo|bar)$)^[a-z]+$"]:
        expression = compile_pattern(pattern, mode="search", encoding="json")
        for text in ["AWS::Serverless::Api", "AWS::S3", "foo", "fooo", "12", "1a", "", "bar"]:
            assert POOL.fullmatch(expression, text.encode()) == bool(re.search(pattern, text)), (pattern, text)


def test_word_boundaries_know_all_scripts() -> None:
    expression = compile_pattern(r"[^a]*\b\w\B\w.*", mode="fullmatch", encoding="utf8")
    for text in ["éa", "- жя", "a b", "١٢", "ab", " -"]:
        assert POOL.fullmatch(expression, text.encode()) == bool(re.fullmatch(r"[^a]*\b\w\B\w.*", text)), text


def test_more_kinds_of_characters_than_letters_for_them() -> None:
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 260)))
    expression = compile_pattern(rf"(?a)({letters[:130]}|{letters[130:]})(?:\b|1)b", mode="fullmatch", encoding="utf8")
    assert POOL.fullmatch(expression, (letters[:130] + "b").encode())
    assert not POOL.fullmatch(expression, (letters[:129] + "b").encode())


def test_looking_behind_sees_characters_of_json_and_not_their_spelling() -> None:
    expression = compile_pattern("(?<=1)b|(?<!A)c", mode="search", encoding="json")
    for text, found in [("1b", True), ("Ab", False), ("Bc", True), ("Ac", False)]:
        for first in _spellings(text[0]):
            assert POOL.fullmatch(expression, (first + text[1]).encode()) == found, first


def test_verbose_patterns_and_lines() -> None:
    pattern = "(?mx) ^ [a #]+ $  # letters\n \\n \\# b ?"
    expression = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    for text in ["a #\n#b", "a\n#", "a#b", "a\n#bb"]:
        assert POOL.fullmatch(expression, text.encode()) == bool(re.fullmatch(pattern, text)), text


def test_scripts_and_categories() -> None:
    def one_of(pattern: str) -> set[str]:
        expression = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
        return {c for c in "aZ1αЖ汉あ_ ǅ-é" if POOL.fullmatch(expression, c.encode())}

    assert one_of(r"\p{Greek}") == one_of(r"\p{sc=Grek}") == one_of(r"\p{IsGreek}") == {"α"}
    assert one_of(r"\p{Script=Latin}") == {"a", "Z", "ǅ", "é"}
    assert one_of(r"[\p{Han}\p{Hiragana}\p{Cyrillic}]") == {"Ж", "汉", "あ"}
    assert one_of(r"\p{Uppercase_Letter}") == one_of(r"\p{gc=Lu}") == {"Z", "Ж"}
    assert one_of(r"\p{LC}") == {"a", "Z", "α", "Ж", "ǅ", "é"}
    assert one_of(r"\P{L}") == one_of(r"\p{^L}") == {"1", "_", " ", "-"}


def test_the_table_of_scripts_is_that_of_the_regex_package() -> None:
    regex = pytest.importorskip("regex")
    for name in ["Greek", "Old_Italic", "Common", "Han", "Inherited"]:
        members = {p for lo, hi in script(name) for p in range(lo, hi + 1)}
        theirs = regex.compile(rf"\p{{Script={name}}}")
        same = [(p in members) == bool(theirs.match(chr(p))) for p in range(0x11800) if not 0xD800 <= p <= 0xDFFF]
        assert sum(not s for s in same) < 20, "versions of Unicode differ, but by little"


@settings(max_examples=100, deadline=None)
@given(pattern=patterns, text=texts, choices=st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_json_spellings_all_match(pattern: str, text: str, choices: list[int]) -> None:
    expression = compile_pattern(pattern, mode="fullmatch", encoding="json", dialect="python")
    spelled = "".join(_spellings(c)[n % len(_spellings(c))] for c, n in zip(text, choices, strict=False))
    assert json.loads(f'"{spelled}"') == text
    assert POOL.fullmatch(expression, spelled.encode()) == bool(re.fullmatch(pattern, text))


def _spellings(char: str) -> list[str]:
    hexed = f"\\u{ord(char):04x}"
    return [json.dumps(char, ensure_ascii=False)[1:-1], hexed, "\\u" + hexed[2:].upper(), json.dumps(char)[1:-1]]


def test_json_characters() -> None:
    good = [
        "a",
        "é",
        "😀",
        '\\"',
        "\\\\",
        "\\/",
        "\\n",
        "\\u0000",
        "\\uD83D\\uDE00",
        "\\ud83d\\ude00",
        "\x7f",
        "\\uFFFF",
    ]
    bad = ["", "ab", '"', "\\", "\n", "\\x", "\\u12", "\\uD83D", "\\uDE00", "\\uDE00\\uD83D", "\\uD83Da"]
    assert [POOL.fullmatch(chars.JSON_CHAR, text.encode()) for text in good] == [True] * len(good)
    assert [POOL.fullmatch(chars.JSON_CHAR, text.encode()) for text in bad] == [False] * len(bad)
    assert not any(POOL.fullmatch(chars.JSON_CHAR, data) for data in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80"))
    name = chars.json_text('a"é')
    assert POOL.fullmatch(name, b'\\u0061\\"\xc3\xa9')
    assert not POOL.fullmatch(name, b'a"\xc3\xa9')


@pytest.mark.parametrize("pattern", ["a|b*c", "(ab|a)(bc|c)*", "[^ab]{1,2}b", "(a{2}){1,2}|b", "a?b?c?(?=c)c|ab"])
def test_agrees_with_interegular(pattern: str) -> None:
    expression = compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    fsm = interegular.parse_pattern(pattern).to_fsm()
    for n in range(6):
        for letters in itertools.product("abc", repeat=n):
            text = "".join(letters)
            assert POOL.fullmatch(expression, text.encode()) == fsm.accepts(text), text


EQUAL = ["[ab]{2,6}c?", "(ab|ba)+,b", 'a{1,3}"[ab]*,"', "é+a|b{4,9}", "a{3,6}"]
WIDER = ["(ab|ba)+,?", "(a|aa){3}"]  # outlines-core leaves out tokens behind a match; `re.fullmatch` does not


@pytest.mark.parametrize("pattern", EQUAL + WIDER)
def test_masks_agree_with_outlines_core(pattern: str, toy: Vocabulary, tokens_of) -> None:
    eos = toy.eos_ids[0]
    ids: dict[bytes, list[int]] = {}
    for i, token in enumerate(toy.tokens):
        if token:
            ids.setdefault(token, []).append(i)
    guide = outlines_core.Guide(outlines_core.Index(pattern, outlines_core.Vocabulary(eos, ids)))
    automaton = Automaton(toy)
    batch, rng = StateBatch(automaton), np.random.default_rng(4)
    slot = batch.open(automaton.compile(Regex(pattern)))
    for _ in range(8):
        row = batch.row_ids([slot])[0]
        ours, theirs = tokens_of(automaton.rows[row]), set(guide.get_tokens())
        assert ours == theirs or (pattern in WIDER and ours > theirs)
        token = int(rng.choice(sorted(theirs)))
        if token == eos:
            break
        assert batch.advance([slot], [token])[0]
        guide.advance(token)


def test_ecma_and_python_differ_where_they_say() -> None:
    def matches(pattern: str, text: str, dialect: str) -> bool:
        expression = compile_pattern(pattern, mode="fullmatch", encoding="utf8", dialect=dialect)
        return POOL.fullmatch(expression, text.encode())

    for pattern, text in [(r"\d", "٣"), (r"\w", "é"), (".", "\r"), (".", "\u2028")]:
        assert matches(pattern, text, "python")
        assert not matches(pattern, text, "ecma")
    assert matches(r"\s", "\ufeff", "ecma")
    assert not matches(r"\s", "\ufeff", "python")
    assert matches(r"\p{Lu}\p{L}+\u{1F600}\cJ", "Éa😀\n", "ecma")
    assert matches(r"\uD83D\uDE00", "😀", "ecma")
    assert matches(r"[\w-.]", "-", "ecma")


def test_surrogates_in_a_class_match_nothing() -> None:
    def matches(pattern: str, text: str) -> bool:
        return POOL.fullmatch(compile_pattern(pattern, mode="search", encoding="utf8", dialect="ecma"), text.encode())

    for pattern in [
        r"^[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDBFF-\uDC00\uDFFF\t]*$",
        "^[ -\ud7ff\ue000-\ufffd\ud800-\udfff]*$",
    ]:
        assert matches(pattern, "a é\ud7ff\ue000")
        assert not matches(pattern, "\U0001f600")
    assert matches(r"^[\u0020-\uDBFF\uDFFF]$", "😀")  # a pair is one character
    assert matches(r"^[^\uD800-\uDFFF]+$", "a😀")
    assert matches(r"^(?:[\0-\uD7FF]|[\uD800-\uDBFF][\uDC00-\uDFFF])+$", "ab")
    with pytest.raises(GrammarError, match="not a character"):
        matches(r"^\uD800", "a")


def test_case_is_ignored_as_re_ignores_it() -> None:
    for letter in "aSKßıéÅσ":
        expression = compile_pattern(f"(?i){letter}", mode="fullmatch", encoding="utf8")
        for point in itertools.chain(range(0x20, 0x250), range(0x390, 0x3D0), [0x1E9E, 0x2126, 0x212A, 0x212B]):
            text = chr(point)
            same = bool(re.fullmatch(letter, text, re.IGNORECASE))
            assert POOL.fullmatch(expression, text.encode()) == same, (letter, text)


def test_flags_inside_of_a_pattern_of_a_schema_hold_from_there_on() -> None:
    for pattern in [r"^\d+\s*(?i)gb$", "^(?i)(yes|no)$", "^(a(?i)b)c|d$", "a(?i:b)c", "^(?s)a.b$"]:
        expression = compile_pattern(pattern, mode="search", encoding="utf8", dialect="ecma")
        for text in ["16 GB", "4gb", "YES", "nO", "abc", "aBc", "aBC", "ABc", "D", "d", "a\nb"]:
            assert POOL.fullmatch(expression, text.encode()) == bool(regex.search(pattern, text, regex.V1)), text
    with pytest.raises(GrammarError, match="this kind of group"):  # as in Python
        compile_pattern("^(?i)a", mode="search", encoding="utf8")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("c(?=(?<=a)b)", "regex, column 2, '(?=': looking behind, and looking inside a repetition, is not supported "
         "inside a look-ahead; move it out of the look-ahead"),
        ("(?=a?^b)c", "regex, column 1, '(?=': '^' behind what may be empty, inside a look-ahead, is not supported; "
         "move it to the front of the look-ahead"),
        (r"(?<=(?=a)b)c", "regex, column 1, '(?<=': looking ahead, '$', and looking inside a repetition, is not "
         "supported inside a look-behind; move it out of the look-behind"),
        (r"(a)\1", "regex, column 4, '\\\\1': back-references are not regular; spell the repeated text out"),
        ("(a", "regex, column 1, '(': this group is not closed; write '\\(' for the character"),
        ("a)", "regex, column 2, ')': there is no '(' for this; write '\\)' for the character"),
        ("[a", "regex, column 1, '[': this class is not closed; write '\\[' for the character"),
        ("a{3,1}", "regex, column 2, '{3,1}': the bounds are out of order"),
        ("*a", "regex, column 1, '*': there is nothing to repeat here; write '\\*' for the character"),
        ("[z-a]", "regex, column 2, 'z-a': the range is out of order"),
        (r"\ud800", "regex, column 1, '\\\\ud800': this is not a character"),
        (r"\q", "regex, column 1, '\\\\q': this escape is not known; leave the backslash out for the letter"),
        (r"\p{Greak}", "regex, column 1, '\\\\p': only general categories, scripts and binary properties are known; "
         "write \\p{L}, \\p{Lu}, \\p{Script=Greek} or a class"),
        (r"(?P<x>a)(?P=x)", "regex, column 9, '(?P=': back-references are not regular; spell the repeated text out"),
        ("a++", "regex, column 3, '+': possessive quantifiers are not supported; leave the '+' out"),
    ],
)  # fmt: skip
def test_refusals_say_where_and_what_to_do(pattern: str, message: str) -> None:
    with pytest.raises(GrammarError) as caught:
        compile_pattern(pattern, mode="fullmatch", encoding="utf8")
    assert str(caught.value) == message


def test_what_re_refuses_is_refused() -> None:
    for pattern in ["(", "[", "a**", "(?P<n", "x{2}{3}", "[b-a]", "\\", "(?z)"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(re.error):
                re.compile(pattern)
        with pytest.raises(GrammarError):
            compile_pattern(pattern, mode="fullmatch", encoding="utf8")


_OTHER_MEANING = {"IDC": "ID_Continue", "VS": "Variation_Selector"}  # blocks have these names, in that package
_ASSIGNED = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
_SAMPLE = _ASSIGNED[::37]


@pytest.mark.parametrize("name", NAMES)
def test_binary_properties_are_those_of_another_package(name: str) -> None:
    """Where they differ, it is because of versions of Unicode: few characters, of those that are assigned here."""
    members = {c for low, high in binary_property(name) for c in range(low, high + 1)}
    other = regex.compile(rf"\p{{{_OTHER_MEANING.get(name, name)}}}")
    assert sum((ord(char) in members) != bool(other.match(char)) for char in _SAMPLE) <= 2
    assert members


@pytest.mark.parametrize("name", ["Greek", "Grek", "Common", "Zinh", "Hira", "Deva", "Latin", "Adlam"])
def test_script_extensions_are_those_of_another_package(name: str) -> None:
    members = {c for low, high in script_extensions(name) for c in range(low, high + 1)}
    other = regex.compile(rf"\p{{scx={name}}}")
    assert [char for char in _ASSIGNED if (ord(char) in members) != bool(other.match(char))] == []


def test_names_of_properties_that_ecma_has() -> None:
    for pattern, good, bad in [
        (r"\p{digit}", "\u09ea", "a"),
        (r"\p{punct}", "\xa1", "a"),
        (r"\p{Alphabetic}", "\u0345", "1"),
        (r"\p{Emoji_Presentation}", "\U0001f600", "1"),
        (r"\p{Script_Extensions=Greek}", "\u0342", "a"),
        (r"\P{Lower}", "A", "a"),
    ]:
        expression = compile_pattern(pattern, mode="fullmatch", encoding="json")
        assert POOL.fullmatch(expression, good.encode())
        assert not POOL.fullmatch(expression, bad.encode())


@given(
    st.from_regex(r"\A[a_][ab c_!'-]{0,4}\Z"),
    st.sampled_from(["", "?", "*", "{2}", "|x", "[y]", "(?=.)", "$"]),
    st.sampled_from(["utf8", "plain", "json"]),
    st.sampled_from(["", "(?i)", "(?x)"]),
)
@settings(max_examples=60, deadline=None)
def test_texts_read_at_once_are_their_characters(text: str, after: str, encoding: chars.Encoding, flags: str) -> None:
    """A run of ordinary characters is read and written in one step; a class of one character never is."""
    together = compile_pattern(flags + text + after, mode="fullmatch", encoding=encoding)
    apart = "".join(f"[{c}]" for c in text if c != " " or flags != "(?x)")
    assert together == compile_pattern(flags + apart + after, mode="fullmatch", encoding=encoding)


@settings(max_examples=200, deadline=None)
@given(parts=anchored, samples=st.lists(texts, min_size=10, max_size=10))
def test_lengths_hold_for_all_texts_in_which_a_pattern_is_found(
    parts: tuple[str, str, str], samples: list[str]
) -> None:
    pattern = "".join(parts).replace(r"\Z", "$")
    least, most = lengths(pattern)
    expression = compile_pattern(pattern, mode="search", encoding="utf8", dialect="ecma")
    for text in samples:
        if POOL.fullmatch(expression, text.encode()):
            assert least <= len(text)
            assert most is None or len(text) <= most


def test_lengths_of_real_patterns() -> None:
    assert lengths(r"^arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$") == (31, None)
    assert lengths("^[^:]{1,256}$") == (1, 256)
    assert lengths("^(?:[a-z]|\\d{3})$") == (1, 3)
    assert lengths("^a|bc$") == (1, None)
    assert lengths("(^a$|^(?!x)b{2}$)") == (1, 2)
    assert lengths("") == (0, None)
