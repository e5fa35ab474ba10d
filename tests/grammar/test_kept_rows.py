"""Rows on disk: a second start finds what the first one made, the same rows, and trusts no file it should not."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, Constraint, JsonObject, JsonSchema, Regex
from rootform.grammar.generations import Generations
from rootform.grammar.kept_rows import KeptRow, KeptRows, key_of
from rootform.grammar.vocab import Vocabulary

SCHEMA = (
    '{"type":"object","properties":{"name":{"type":"string","maxLength":9},"n":{"type":"integer"},'
    '"tags":{"type":"array","items":{"enum":["x","yy","true"]},"maxItems":4},"more":{"type":"object"}},'
    '"required":["name","tags"],"additionalProperties":false}'
)
TREE = (
    '{"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"c":{"type":"array",'
    '"items":{"$ref":"#/$defs/n"}}},"required":["v"]}},"$ref":"#/$defs/n"}'
)
CONSTRAINTS: list[Constraint] = [
    JsonSchema(SCHEMA),
    JsonSchema(SCHEMA, "flexible"),
    JsonObject(),
    Regex('"[a-f]{2,30}"(,"tru?e")*'),
    Choice(("true", "truth", '"}', "null")),
    JsonSchema(TREE),
    JsonSchema('{"type":"array","uniqueItems":true,"items":{"enum":["a","bb",1]}}'),
]


ALL = list(range(len(CONSTRAINTS)))


def walk(generations: Generations, constraint: Constraint, rng: random.Random, steps: int = 40) -> list[object]:
    """A random sequence: every row it met."""
    root = generations.compile(constraint)
    automaton = root.generation.automaton
    batch = StateBatch(automaton)
    slot, seen = batch.open(root.start), []
    for _ in range(steps):
        row = int(batch.row_ids(np.array([slot]))[0])
        words = automaton.rows[row]
        seen.append((words.tolist(), bool(batch.accepting(np.array([slot]))[0])))
        allowed = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
        token = int(rng.choice(allowed.tolist()))
        if token in automaton.vocabulary.eos_ids:
            break
        assert batch.advance(np.array([slot]), np.array([token]))[0]
    return seen


def run(generations: Generations, order: list[int], seed: int) -> dict[int, list[object]]:
    return {n: [walk(generations, CONSTRAINTS[n], random.Random(seed * 100 + n)) for _ in range(3)] for n in order}


def test_a_second_start_finds_the_rows_of_the_first(toy_bytes: Vocabulary, tmp_path: Path) -> None:
    most = ALL[:-1]  # rows that depend on earlier elements are not kept
    kept = KeptRows(tmp_path, toy_bytes)
    first = Generations(toy_bytes, kept=kept)
    rows = run(first, most, 1)
    assert kept.missed > 50
    kept.save()
    again = KeptRows(tmp_path, toy_bytes)
    assert len(again) == len(kept)
    second = Generations(toy_bytes, kept=again)
    assert run(second, most, 1) == rows
    assert again.missed == 0, "the same texts need no row to be made"
    walks = second.current.automaton.walker.walks
    assert walks == 0
    assert second.current.automaton.misses < first.current.automaton.misses


@pytest.mark.parametrize("seed", range(6))
def test_kept_rows_are_those_that_would_be_made(toy_bytes: Vocabulary, tmp_path: Path, seed: int) -> None:
    """Whatever was met before, in whatever order, in either process."""
    rng = random.Random(seed)
    kept = KeptRows(tmp_path, toy_bytes)
    run(Generations(toy_bytes, kept=kept), rng.sample(ALL, len(ALL)), seed)
    kept.save()
    again = KeptRows(tmp_path, toy_bytes)
    order = rng.sample(ALL, len(ALL))
    with_kept, without = Generations(toy_bytes, kept=again), Generations(toy_bytes)
    for other in (seed, seed + 1000):
        assert run(with_kept, order, other) == run(without, order, other)
    assert again.found > 20


def test_what_should_not_be_trusted_is_named_and_left_out(toy_bytes: Vocabulary, tmp_path: Path, caplog) -> None:
    kept = KeptRows(tmp_path, toy_bytes)
    run(Generations(toy_bytes, kept=kept), [0], 1)
    kept.save()
    good = kept.file.read_bytes()
    rng = random.Random(5)
    broken = [b"", b"something else", good[:-1], good[: len(good) // 2], b"X" + good[1:], good + b"0"]
    for _ in range(20):
        at = rng.randrange(len(good))
        broken.append(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    for data in broken:
        kept.file.write_bytes(data)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert len(KeptRows(tmp_path, toy_bytes)) == 0
        (record,) = caplog.records
        assert str(kept.file) in record.getMessage()
    replaced = KeptRows(tmp_path, toy_bytes)
    run(Generations(toy_bytes, kept=replaced), [0], 1)
    replaced.save()
    caplog.clear()
    assert len(KeptRows(tmp_path, toy_bytes)) > 0
    assert not caplog.records


def test_a_file_of_another_vocabulary_is_not_used(
    toy_bytes: Vocabulary, toy: Vocabulary, tmp_path: Path, caplog
) -> None:
    kept = KeptRows(tmp_path, toy_bytes)
    kept.put(key_of(b"a"), KeptRow(np.zeros(toy_bytes.words, np.uint32), True, 0))
    kept.save()
    other = KeptRows(tmp_path, toy)
    assert len(other) == 0
    assert other.file != kept.file
    other.file.write_bytes(kept.file.read_bytes())
    assert len(KeptRows(tmp_path, toy)) == 0
    assert "of another vocabulary" in caplog.text


def test_the_file_keeps_to_its_size_and_to_what_was_used_last(toy_bytes: Vocabulary, tmp_path: Path) -> None:
    size = 4000
    kept = KeptRows(tmp_path, toy_bytes, max_bytes=size)
    rng = np.random.default_rng(0)
    rows = {n: rng.integers(0, 2**32, toy_bytes.words, dtype=np.uint32) for n in range(500)}
    for n, row in rows.items():
        kept.put(key_of(n), KeptRow(row, n % 2 == 0, n % 3))
        assert kept.get(key_of(0)) is not None, "what is used stays"
    kept.save()
    assert kept.file.stat().st_size < 2 * size
    again = KeptRows(tmp_path, toy_bytes, max_bytes=size)
    assert 5 < len(again) < 200
    for n in (0, 499):
        found = again.get(key_of(n))
        assert found is not None
        assert (found.words.tolist(), found.accepts, found.level) == (rows[n].tolist(), n % 2 == 0, n % 3)
    assert again.get(key_of(1)) is None


def test_a_folder_that_cannot_be_written_is_a_warning(toy_bytes: Vocabulary, tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = KeptRows(tmp_path / "file", toy_bytes)
    kept.put(key_of(b"a"), KeptRow(np.zeros(toy_bytes.words, np.uint32), True, 0))
    kept.save()
    assert "could not be written" in caplog.text
