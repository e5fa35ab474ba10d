"""Structural tags against a reader that follows free text character by character, as a consumer of the output would."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import StructuralTag
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.structural import free_text

randoms = st.randoms(use_true_random=False)


def tag_of(form: object) -> StructuralTag:
    return StructuralTag(json.dumps({"type": "structural_tag", "format": form}))


def accepts(text: str, form: object) -> bool:
    return POOL.fullmatch(expression_of(tag_of(form)), text.encode())


def const(text: str) -> dict[str, object]:
    return {"type": "const_string", "value": text}


def schema(value: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": value}


WEATHER = {"type": "tag", "begin": "<f=weather>", "end": "</f>", "content": schema({"enum": ["Rome", "Oslo"]})}
CLOCK = {"type": "tag", "begin": "<f=clock>", "end": "</f>", "content": {"type": "regex", "pattern": r"\d\d:\d\d"}}
CALLS = {"type": "triggered_tags", "triggers": ["<f="], "tags": [WEATHER, CLOCK]}
CALL, CALL_2 = '<f=weather>"Rome"</f>', "<f=clock>12:30</f>"


def test_free_text_with_tool_calls() -> None:
    for good in ["", "just text", f"so: {CALL} and {CALL_2}.", CALL + CALL_2, "a < b, <f", "é😀\n"]:
        assert accepts(good, CALLS), good
    for bad in ["<f=", "<f=other></f>", f"so: {CALL[:-1]}", '<f=weather>"Paris"</f>', "x <f=clock>12:3</f>"]:
        assert not accepts(bad, CALLS), bad


def test_at_least_one_and_stop_after_first() -> None:
    def allowed(**flags: bool) -> list[str]:
        texts = ["", "hi", f"hi {CALL}", CALL, f"{CALL} bye", f"{CALL} and {CALL_2} bye"]
        return [text for text in texts if accepts(text, CALLS | flags)]

    assert allowed(at_least_one=True) == [CALL, f"{CALL} bye", f"{CALL} and {CALL_2} bye"]
    assert allowed(stop_after_first=True) == ["", "hi", f"hi {CALL}", CALL]
    assert allowed(at_least_one=True, stop_after_first=True) == [CALL]


def test_the_older_form() -> None:
    older = {
        "type": "structural_tag",
        "structures": [{"begin": "<f=a>", "schema": {"type": "integer"}, "end": "</f>"}],
        "triggers": ["<f="],
    }
    expression = expression_of(StructuralTag(json.dumps(older)))
    assert POOL.fullmatch(expression, b"one <f=a>12</f> more")
    assert not POOL.fullmatch(expression, b"one <f=a>x</f> more")


def test_compositions() -> None:
    ab = {"type": "sequence", "elements": [const("a"), {"type": "or", "elements": [const("b"), const("c")]}]}
    assert [t for t in ["ab", "ac", "a", "abc"] if accepts(t, ab)] == ["ab", "ac"]
    for kind, counts in [("optional", {0, 1}), ("plus", {1, 2, 3}), ("star", {0, 1, 2, 3})]:
        assert {n for n in range(4) if accepts("x" * n, {"type": kind, "content": const("x")})} == counts
    repeat = {"type": "repeat", "min": 2, "max": 3, "content": const("x")}
    assert {n for n in range(6) if accepts("x" * n, repeat)} == {2, 3}
    assert {n for n in range(6) if accepts("x" * n, repeat | {"max": -1})} == {2, 3, 4, 5}
    grammar = {"type": "grammar", "grammar": 'root ::= "(" root ")" | "x"'}
    assert accepts("((x))", grammar)
    assert accepts("(x)", grammar | {"grammar": 'start: "(" start ")" | "x"'})
    listed = {"type": "tags_with_separator", "separator": ",", "tags": [WEATHER, CLOCK]}
    assert [t for t in ["", CALL, f"{CALL},{CALL_2}", CALL + CALL_2] if accepts(t, listed)] == [
        "", CALL, f"{CALL},{CALL_2}"]  # fmt: skip
    assert not accepts("", listed | {"at_least_one": True})
    assert not accepts(f"{CALL},{CALL_2}", listed | {"stop_after_first": True})


def test_free_text_in_a_tag_ends_at_its_first_end() -> None:
    think = {"type": "tag", "begin": "<t>", "content": {"type": "any_text"}, "end": ["</t>", "<end>"]}
    whole = {"type": "sequence", "elements": [think, schema({"type": "integer"})]}
    for good in ["<t></t>1", "<t>a < b </ t</t>12", "<t>x<end>3"]:
        assert accepts(good, whole), good
    for bad in ["<t>1", "<t>a</t>b</t>1", "<t>a</t><end>1"]:
        assert not accepts(bad, whole), bad
    inside = {"type": "tag", "begin": "[", "content": CALLS, "end": "]"}
    assert accepts(f"[go {CALL} on]", inside)
    assert not accepts("[go] on]", inside)


def test_dispatch_and_excludes() -> None:
    rules = [["A:", schema({"type": "integer"})], ["B:", const("!")]]
    form = {"type": "dispatch", "rules": rules, "excludes": ["stop"]}
    assert accepts("say A:12 and B:! done", form)
    assert not accepts("say A:x", form)
    assert not accepts("A:1 stop", form)
    assert not accepts("A:1 B:!", form | {"loop": False})
    assert accepts("so A:1", form | {"loop": False})
    assert not accepts("no stop", {"type": "any_text", "excludes": ["stop"]})


def first_end(text: str, stops: list[str]) -> tuple[int, str] | None:
    """Where the first of `stops` to be over is over, read from the left; of several, each is one."""
    for end in range(1, len(text) + 1):
        for stop in stops:
            if text[:end].endswith(stop):
                return end, stop
    return None


@settings(max_examples=120, deadline=None)
@given(stops=st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=2), last=st.integers(0, 1))
def test_free_text_before_a_stop_holds_no_earlier_stop(stops: list[str], last: int) -> None:
    stop = stops[last % len(stops)]
    if any(other in stop[:-1] for other in stops):
        with pytest.raises(GrammarError, match="free text never comes to it"):
            free_text(stops, [stop])
        return
    expression = POOL.concat(free_text(stops, [stop]), POOL.literal(stop.encode()))
    alone = free_text(stops)
    for n in range(6):
        for letters in itertools.product("ab", repeat=n):
            text = "".join(letters)
            found = first_end(text, stops)
            assert POOL.fullmatch(expression, text.encode()) == (
                found is not None and found[0] == len(text) and text.endswith(stop)
            ), text
            assert POOL.fullmatch(alone, text.encode()) == (found is None), text


@settings(max_examples=25, deadline=None)
@given(rng=randoms)
def test_masks_are_exactly_the_tokens_that_can_be_completed(rng: random.Random, toy, tokens_of) -> None:
    tags = [{"type": "tag", "begin": begin, "end": '"', "content": const(content)} for begin, content in
            [("ab", "b,"), ("aba", ",,")]]  # fmt: skip
    forms = [
        {"type": "triggered_tags", "triggers": ["ab"], "tags": tags, "stop_after_first": rng.random() < 0.5},
        {"type": "tag", "begin": ",", "content": {"type": "any_text", "excludes": ["bb"]}, 
         "end": rng.choice(["aa", "aba"])},
        {"type": "dispatch", "rules": [["a", const(",")], ['b"', const("b")]], "excludes": ['""']},
    ]  # fmt: skip
    expression = expression_of(tag_of(rng.choice(forms)), toy.alphabet)
    automaton = Automaton(toy)
    batch = StateBatch(automaton)
    slot, left = batch.open(automaton.root_of(expression)), expression
    for _ in range(6):
        wanted = set(toy.eos_ids) if POOL.nullable(left) else set()
        for token, data in enumerate(toy.tokens):
            after = left
            for byte in data:
                after = POOL.raw_derivative(after, byte)
            if data and not POOL.is_empty(after):
                wanted.add(token)
        row = int(batch.row_ids([slot])[0])
        assert tokens_of(automaton.rows[row]) == wanted
        closing = b"".join(toy.tokens[t] for t in batch.closing(slot))
        assert POOL.fullmatch(left, closing)
        steps = sorted(wanted - set(toy.eos_ids))
        if not steps:
            break
        token = rng.choice(steps)
        assert batch.advance([slot], [token])[0]
        for byte in toy.tokens[token]:
            left = POOL.raw_derivative(left, byte)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"type": "token", "token": 3}, "Invalid value 'token' - at `$.format.type`; formats of single tokens"),
        ({"type": "const_string"}, "missing required field `value` - at `$.format`"),
        ({"type": "any_text", "exclude": []}, "unknown field `exclude` - at `$.format`"),
        (schema({"type": "objec"}), "#/format/json_schema, 'type': 'objec' is not a type"),
        (schema({"enum": []}), "#/format/json_schema"),
        ({"type": "regex", "pattern": "("}, "#/format/pattern: regex, column 1, '('"),
        ({"type": "grammar", "grammar": "root ::= x"}, "#/format/grammar: grammar, line 1, column 10, 'x'"),
        (CALLS | {"excludes": ["<f"]}, "#/format, '<f=': free text never comes to it, since '<f' is there before"),
        (CALLS | {"triggers": ["<f=", "<f"]}, "#/format/tags/0, 'begin': it begins with 2 of the triggers"),
        (CALLS | {"triggers": ["<g="]}, "#/format/tags/0, 'begin': it begins with 0 of the triggers"),
        (CALLS | {"triggers": ["<f=", "<g"]}, "#/format/triggers/1, '<g': no tag begins with it"),
        (CALLS | {"triggers": [""]}, "#/format/triggers/0: it must not be empty"),
        ({"type": "or", "elements": []}, "#/format: nothing can satisfy this"),
        (WEATHER | {"end": []}, "#/format, 'end': there is none"),
        (schema({}) | {"style": "qwen_xml"}, "Invalid enum value 'qwen_xml' - at `$.format.style`"),
    ],
)
def test_refusals_say_where(form: object, message: str) -> None:
    with pytest.raises(GrammarError) as caught:
        expression_of(tag_of(form))
    assert message in str(caught.value)


def test_what_is_no_structural_tag() -> None:
    for text, message in [("{", "truncated"), ("{}", "either a format"), ('{"format": 3}', "Expected `object")]:
        with pytest.raises(GrammarError, match=message):
            expression_of(StructuralTag(text))
