"""Constraints made to do harm: refused within their limit, or compiled; others are not touched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pytest

from rootform.grammar import miss_kernels
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, Constraint, JsonSchema, Regex
from rootform.grammar.errors import GrammarError
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.work import Limit, tick, within

SECONDS = 0.1  # of processor time: what is small compiles in a fraction of it


def schema(value: object) -> JsonSchema:
    return JsonSchema(json.dumps(value))


def nested(n: int, before: str, inner: str, after: str) -> str:
    return before * n + inner + after * n


HARMFUL: dict[str, Callable[[], Constraint]] = {
    "2 ** 30 required": lambda: schema(
        {"allOf": [{"anyOf": [{"required": [f"a{i}"]}, {"required": [f"b{i}"]}]} for i in range(30)]}
    ),
    "2 ** 30 patterns": lambda: schema(
        {"allOf": [{"oneOf": [{"pattern": f"a{{{i}}}"}, {"pattern": f"b{{{i}}}c"}]} for i in range(30)]}
    ),
    "2 ** 40 references": lambda: schema(
        {
            "$defs": {
                **{f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)},
                "d40": {"type": "integer"},
            },
            "$ref": "#/$defs/d0",
        }
    ),
    "100k arrays deep": lambda: JsonSchema(nested(100_000, '{"items":', "{}", "}")),
    "100k allOf deep": lambda: JsonSchema(nested(100_000, '{"allOf":[', "{}", "]}")),
    "100k groups deep": lambda: Regex(nested(100_000, "(", "a", ")")),
    "pattern of nested stars": lambda: Regex("(a|aa)+" * 30 + "$"),
    "pattern of far letters": lambda: schema(
        {"type": "string", "allOf": [{"pattern": "a.{30}$"}, {"pattern": "b.{31}$"}, {"not": {"pattern": "c.{32}$"}}]}
    ),
    "repeats of repeats": lambda: Regex("((((a{1000}){1000}){1000}b{0,1000}){1000}){1000}"),
    "optional repeats of repeats": lambda: Regex("((a{0,1000}b{0,1000}){0,1000}c){0,1000}d"),
    "2 MB of properties": lambda: schema({"properties": {f"property {i}": {"maxLength": i} for i in range(50_000)}}),
    "2 MB of spaces": lambda: JsonSchema('{"type":"object"' + " " * 2_000_000 + "}"),
    "2 MB of text": lambda: schema({"const": "a" * 2_000_000}),
    "a million numbers": lambda: schema({"enum": list(range(1_000_000))}),
    "a key twice among many": lambda: JsonSchema("{" + ",".join(f'"{i}":1' for i in range(100_000)) + ',"99999":2}'),
    "words that begin each other": lambda: Choice(tuple("a" * n for n in range(2000))),
    "a number of 100k digits": lambda: JsonSchema('{"minimum":1' + "0" * 100_000 + "}"),
    "a divisor with many residues": lambda: schema({"type": "integer", "multipleOf": 999_983}),
    "100k required": lambda: schema({"required": [f"p{i}" for i in range(100_000)]}),
    "a long least length": lambda: schema({"type": "string", "minLength": 10**9}),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_is_made_to_do_harm_keeps_to_its_limit(name: str, toy_bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, with a reason where it is refused, and in bounded memory."""
    monkeypatch.setattr("rootform.grammar.automaton.MISS_SECONDS", SECONDS)
    generations = Generations(toy_bytes, max_bytes=64 << 20)
    batch = GenerationBatch(generations)
    reason = ""
    try:
        slots = np.array([batch.open(generations.compile(HARMFUL[name](), Limit(SECONDS), warm=True))])
    except GrammarError as error:
        reason = error.reason
    else:
        assert batch.row_ids(slots)[0] >= 0
    assert reason or batch.generations.current.automaton.rows.any()
    assert generations.nbytes < 100 << 20
    assert generations.compile(Choice(("yes", "no"))) is not None


def test_memory_is_a_limit_too(toy_bytes) -> None:
    generations = Generations(toy_bytes, max_bytes=8 << 20)
    rng = random.Random(0)
    texts = tuple("".join(rng.choices("abcdefgh", k=4000)) for _ in range(150))
    with pytest.raises(GrammarError, match="more memory than the 8 MiB"):
        generations.compile(Choice(texts), Limit(3600))
    batch = GenerationBatch(generations)
    slot = batch.open(generations.compile(Choice(("a", "b")), Limit(3600)))
    assert batch.advance(np.array([slot]), np.array([ord("a")]))[0]
    assert generations.nbytes < 16 << 20


def test_a_row_that_takes_too_long_ends_its_sequence_alone(toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootform.grammar.automaton.MISS_SECONDS", 0.05)
    generations = Generations(toy)
    root = generations.compile(Regex("a+b"))
    automaton = root.generation.automaton
    batch = StateBatch(automaton)
    good, bad = batch.open(root.start), batch.open(generations.compile(Regex("b+a")).start)
    batch.row_ids(np.array([good]))

    def endless(reader):
        while True:
            tick()

    with monkeypatch.context() as patched:
        patched.setattr(automaton, "_run", lambda kernel, *where: miss_kernels.UNFINISHED)
        patched.setattr(automaton._masks, "go_on", endless)
        rows = batch.row_ids(np.array([good, bad]))
    assert "more than 0.05 s" in str(batch.error_of(bad))
    assert batch.error_of(good) is None
    assert batch.allowed(int(rows[1])).tolist() == list(toy.eos_ids)
    assert batch.advance(np.array([good]), np.array([0]))[0]


HOSTILE_ELEMENTS = {
    "deep": [b"[" * 700] * 2 + [b"]" * 700] * 2,
    "exponent": [b"1", b"e", *[b"9" * 30] * 2],
}


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("element", HOSTILE_ELEMENTS)
def test_an_element_that_cannot_be_compared_ends_its_sequence_alone(
    element: str, unique: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of it meanwhile."""
    monkeypatch.setattr("rootform.grammar.json_equal._MOST_EXPONENT_DIGITS", 50)
    pieces = sorted({piece for written in HOSTILE_ELEMENTS.values() for piece in written})
    tokens = [*[bytes([byte]) for byte in range(256)], *pieces, b""]
    automaton = Automaton(Vocabulary(tokens, [len(tokens) - 1], len(tokens)))
    arrays = {"type": "array", **({"uniqueItems": True} if unique else {"not": {"uniqueItems": True}})}
    batch = StateBatch(automaton)
    bad, good = (batch.open(automaton.compile(schema(arrays))) for _ in range(2))
    batch.advance(np.array([good]), np.array([ord("[")]))
    told = None
    for piece in [b"[", *HOSTILE_ELEMENTS[element], b","]:
        if not batch.advance(np.array([bad]), np.array([tokens.index(piece)]))[0]:
            told = batch.error_of(bad)
            break
        batch.forced(bad)
        try:
            batch.closing(bad)
        except GrammarError as error:
            told = error
            break
    assert told is not None
    assert batch.row_ids(np.array([good, bad])).tolist() == batch.row_ids(np.array([good, bad])).tolist()
    assert batch.error_of(good) is None


@pytest.mark.parametrize("polite", [True, False])
def test_polite_work_pauses(polite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("rootform.grammar.work.time.sleep", pauses.append)
    limit = Limit(0.3, polite=polite)
    with within(limit), limit.in_haste():
        for _ in range(20_000):
            tick()
    assert not pauses, "others wait for work that is done in haste"
    with within(limit), pytest.raises(GrammarError, match=r"more than 0\.3 s"):  # noqa: PT012
        while True:
            tick()
    assert bool(pauses) == polite
    assert pauses == sorted(pauses), "longer ones when it has been long at it"
