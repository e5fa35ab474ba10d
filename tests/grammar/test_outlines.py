"""outlines-core as a backend: over its automaton the same tokens are allowed as over ours."""

from __future__ import annotations

import builtins
import itertools
import re
from pathlib import Path

import numpy as np
import outlines_core
import pytest
import tokenizers

import rootform.sprout
from rootform.engine.token_bytes import bytes_of_tokens
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Choice, Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.vocab import Vocabulary

BOTH = ["[ab]{2,6}c?", 'a{1,3}"[ab]*,"', "é+a|b{4,9}", "a{3,6}", r"[a-z]+@[a-z]+\.com", "", r"\d{1,3}(,\d{3})*"]
NARROWER = ["(ab|ba)+,?", "(a|aa){3}"]  # for these its own guide leaves tokens out


@pytest.fixture(scope="module")
def sprout_vocabulary() -> Vocabulary:
    """That of the bundled model."""
    file = Path(rootform.sprout.__file__ or "").parent / "model" / "tokenizer.json"
    if not file.exists():
        pytest.skip("the bundled model is not there")
    backend = tokenizers.Tokenizer.from_file(str(file))
    special = {backend.token_to_id("<|end|>")}
    tokens = bytes_of_tokens(backend, special)
    return Vocabulary(tokens, sorted(special), len(tokens))


def mask(automaton: Automaton, batch: StateBatch, slot: int, tokens_of) -> set[int]:
    row = int(batch.row_ids([slot])[0])
    return tokens_of(automaton.rows[row])


@pytest.mark.parametrize("pattern", [*BOTH[:4], *NARROWER])
def test_its_own_guide_agrees_where_nothing_goes_on_behind_a_match(pattern: str, toy: Vocabulary, tokens_of) -> None:
    eos = toy.eos_ids[0]
    ids: dict[bytes, list[int]] = {}
    for i, token in enumerate(toy.tokens):
        if token:
            ids.setdefault(token, []).append(i)
    guide = outlines_core.Guide(outlines_core.Index(pattern, outlines_core.Vocabulary(eos, ids)))
    automaton = Automaton(toy)
    batch, rng = StateBatch(automaton), np.random.default_rng(4)
    slot = batch.open(automaton.compile(Regex(pattern, backend="outlines")))
    for _ in range(8):
        theirs = set(guide.get_tokens())
        ours = mask(automaton, batch, slot, tokens_of)
        assert ours == theirs or (pattern in NARROWER and ours > theirs)
        token = int(rng.choice(sorted(theirs)))
        if token == eos:
            break
        assert batch.advance([slot], [token])[0]
        guide.advance(token)


def agree(vocabulary: Vocabulary, first: Regex | Choice, second: Regex | Choice, tokens_of, seed: int) -> None:
    """The two constraints allow the same tokens all along a random text."""
    automaton = Automaton(vocabulary)
    batch, rng = StateBatch(automaton), np.random.default_rng(seed)
    slots = [batch.open(automaton.compile(c)) for c in (first, second)]
    for _ in range(12):
        ours, theirs = (mask(automaton, batch, slot, tokens_of) for slot in slots)
        assert ours == theirs
        steps = sorted(ours - set(vocabulary.eos_ids))
        if not steps:
            break
        assert batch.advance(slots, [int(rng.choice(steps))] * 2).all()


CHOICES = ("yes", "no", "not (yet)", "no*", "n", "é.")


@pytest.mark.parametrize("pattern", BOTH + NARROWER)
def test_both_backends_allow_the_same_tokens(pattern: str, toy_bytes: Vocabulary, tokens_of) -> None:
    for seed in range(3):
        agree(toy_bytes, Regex(pattern), Regex(pattern, backend="outlines"), tokens_of, seed)
        agree(toy_bytes, Choice(CHOICES), Choice(CHOICES, backend="outlines"), tokens_of, seed)


def test_both_backends_allow_the_same_tokens_of_a_real_vocabulary(sprout_vocabulary: Vocabulary, tokens_of) -> None:
    for seed, pattern in enumerate([r"[A-Z][a-z]+( [A-Z][a-z]+)*", r"(19|20)\d\d-\d\d-\d\d", r"[^\n\x00]{3,20}\.?"]):
        agree(sprout_vocabulary, Regex(pattern), Regex(pattern, backend="outlines"), tokens_of, seed)
    agree(sprout_vocabulary, Choice(CHOICES), Choice(CHOICES, backend="outlines"), tokens_of, 4)


def test_what_an_automaton_accepts() -> None:
    for pattern in BOTH + NARROWER:
        expression = expression_of(Regex(pattern, backend="outlines"))
        for letters in itertools.chain.from_iterable(itertools.product('ab",', repeat=n) for n in range(5)):
            text = "".join(letters)
            assert POOL.fullmatch(expression, text.encode()) == bool(re.fullmatch(pattern, text)), (pattern, text)
        shortest = POOL.shortest(expression)
        assert shortest is not None
        assert re.fullmatch(pattern, shortest.decode())
    with_text = POOL.and_(expression_of(Regex("[ab]{2,6}c?", backend="outlines")), POOL.not_(POOL.literal(b"ab")))
    assert not POOL.fullmatch(with_text, b"ab")
    assert POOL.fullmatch(with_text, b"abc")


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GrammarError, match=r'outlines-core cannot build this: .*; use backend "rootform"'):
        expression_of(Regex("(?=a)a", backend="outlines"))
    with pytest.raises(GrammarError, match="outlines-core cannot build"):
        expression_of(Regex("a)(?:b", backend="outlines"))
    with pytest.raises(GrammarError, match="choices: nothing can satisfy this"):
        expression_of(Choice((), backend="outlines"))
    imported = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name == "outlines_core":
            raise ImportError("it is not there")
        return imported(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GrammarError, match="outlines-core cannot be imported: it is not there; pip install"):
        expression_of(Regex("never met", backend="outlines"))
