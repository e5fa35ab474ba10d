"""First walks of names of hosts, made when nobody waits: they change no answer, and are those that are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.generations import Generations
from rootform.grammar.name_warming import NameWarming
from rootform.grammar.vocab import Vocabulary

TOKENS = [bytes([byte]) for byte in range(256)] + [
    *(
        text.encode()
        for text in ("www", ".com", "xn--", "bü", "example", "a-", "--", "ß.", "日本", "・", "שלום", ".de")
    ),
    b"\xc3",
    b"\xbccher",
    b'a"',
    b"\\u00",
]


def compiled(form: str) -> tuple[Generations, tuple[int, int, int]]:
    generations = Generations(Vocabulary([*TOKENS, b""], [len(TOKENS)], len(TOKENS) + 1))
    root = generations.compile(JsonSchema(f'{{"type": "string", "format": "{form}"}}'))
    return generations, generations.current.automaton.start(root.start)


def rows_along(generations: Generations, at: tuple[int, int, int], text: str) -> list[list[int]]:
    """The masks behind each byte of a text that is allowed."""
    automaton, rows = generations.current.automaton, []
    for byte in text.encode():
        row = automaton.row_at(*at)
        rows.append(automaton.rows[row].tolist())
        after = automaton.after(*at, byte)
        if after is None:
            break
        at = after
    return rows


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("idn-hostname", '"bü-cher.example.com"'),
        ("idn-hostname", '"xn--a'),
        ("idn-hostname", '"שלום.com"'),
        ("idn-email", '"jo.hn@bü.日本・"'),
        ("idn-email", '"a@a--b'),
    ],
)
def test_masks_are_the_same(form: str, text: str) -> None:
    generations, at = compiled(form)
    expected = rows_along(generations, at, text)
    generations, at = compiled(form)
    generations.tidy()
    assert rows_along(generations, at, text) == expected


@pytest.mark.parametrize(("form", "text"), [("idn-hostname", '"'), ("idn-email", '"a@')])
def test_the_walk_where_a_name_begins_is_there(form: str, text: str) -> None:
    made = []
    for is_tidied in (False, True):
        generations, at = compiled(form)
        if is_tidied:
            generations.tidy()
        automaton = generations.current.automaton
        for byte in text.encode():
            after = automaton.after(*at, byte)
            assert after is not None
            at = after
        before = automaton.walker.reached
        automaton.row_at(*at)
        made.append(automaton.walker.reached - before)
    assert made[1] * 4 < made[0], "what remains is the walk of other texts of the frame"


def test_nothing_is_walked_twice_nor_without_such_names() -> None:
    generations, _ = compiled("hostname")
    walker = generations.current.automaton.walker
    before = walker.walks
    generations.tidy()
    assert walker.walks == before
    generations.compile(JsonSchema('{"type": "string", "format": "idn-email"}'))
    generations.tidy()
    first = walker.walks
    assert first > before
    generations.compile(JsonSchema('{"items": {"type": "string", "format": "idn-email"}}'))
    generations.tidy()
    assert walker.walks == first
    generations.compile(JsonSchema('{"type": "string", "format": "idn-hostname"}'))
    generations.tidy()
    assert walker.walks > first


def test_it_is_done_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = []
    go_on = NameWarming.go_on

    def counted(self: NameWarming) -> bool:
        found = go_on(self)
        bits.append(found)
        return found

    monkeypatch.setattr(NameWarming, "go_on", counted)
    generations, _ = compiled("idn-hostname")
    generations.tidy()
    assert len(bits) > 10
    assert bits[-1] is False
    assert all(bits[:-1])


def test_what_cannot_be_walked_is_left_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    generations, at = compiled("idn-hostname")
    walker = generations.current.automaton.walker
    walk, asked = walker.walk, []

    def failing(state: int, unit: int, nodes: np.ndarray) -> object:
        asked.append(state)
        if len(asked) == 3:
            raise GrammarError("constraint", "", "takes more than 2 s of work")
        return walk(state, unit, nodes)

    with monkeypatch.context() as patched:
        patched.setattr(walker, "walk", failing)
        generations.tidy()
    assert len(asked) == 3
    expected, start = compiled("idn-hostname")
    assert rows_along(generations, at, '"www.a') == rows_along(expected, start, '"www.a')
