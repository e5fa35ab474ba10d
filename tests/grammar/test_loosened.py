"""Expressions that say less: they have all texts of the others, and what is told by them is so."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rootform.grammar import formats, witness
from rootform.grammar.expr import POOL
from rootform.grammar.loosened import Loosened
from rootform.grammar.pools import current
from rootform.grammar.regex import compile_pattern

LETTER = POOL.byte_set(b'ab,"')
HOSTS = ("a", "www.example.com", "a-b.c", "xn--bcher-kva.example")
MAILS = ("a@b.c", "a.b+c@example.com", '\\"a b\\"@b.c', "a@[127.0.0.1]")


def test_all_texts_are_texts_of_what_says_less(random_expression: Callable[..., tuple]) -> None:
    rng, loosened = random.Random(4), Loosened(current())
    for _ in range(300):
        item, language = random_expression(rng, regular=rng.random() < 0.5)
        counted = POOL.concat(item, POOL.counted(LETTER, rng.randint(0, 2), rng.choice([2, 4, None])))
        assert all(POOL.fullmatch(loosened.of(item), text) for text in language)
        assert all(POOL.fullmatch(loosened.of(counted), text + b"ab") for text in language)


@pytest.mark.parametrize(("name", "texts"), [("hostname", HOSTS), ("email", MAILS)])
def test_names_are_texts_of_what_says_less(name: str, texts: tuple[str, ...]) -> None:
    loosened = Loosened(current()).of(formats.body(name))
    for text in texts:
        assert POOL.fullmatch(formats.body(name), text.encode())
        assert POOL.fullmatch(loosened, text.encode())
    assert not POOL.fullmatch(loosened, "é".encode())


def test_what_is_empty_is_told_as_without(
    random_expression: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked after each search's first state."""
    monkeypatch.setattr(witness, "_MANY", 1)
    asked: list[bool] = []
    ask = witness.Witness._is_loosely_empty
    monkeypatch.setattr(witness.Witness, "_is_loosely_empty", lambda *args: asked.append(ask(*args)) or asked[-1])
    rng = random.Random(9)
    for _ in range(600):
        (first, language), (second, other) = (random_expression(rng, regular=True) for _ in range(2))
        item = POOL.and_(first, second, POOL.counted(LETTER, 1, 4))
        wanted = {text for text in language & other if 1 <= len(text) <= 4}
        shortest = POOL.shortest(item)
        assert (shortest is None) == (not wanted)
        assert shortest is None or len(shortest) == min(map(len, wanted))
    assert any(asked)
    assert not all(asked)


@pytest.mark.parametrize("name", ["hostname", "email"])
@pytest.mark.parametrize("pattern", ["é", "\\n", "[^\\x00-\\x7f]{2}"])
def test_characters_that_no_name_has_are_found_to_be_missing(
    name: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a search of all that a name may be."""
    opened: list[None] = []
    monkeypatch.setattr(witness, "tick", lambda: opened.append(None))
    body = compile_pattern(pattern, mode="search", encoding="json")
    assert POOL.is_empty(POOL.and_(formats.body(name), body))
    assert len(opened) < 5 * witness._MANY
