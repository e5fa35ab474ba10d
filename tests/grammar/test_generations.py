"""Bounded memory: generations come and go, and nothing a sequence sees depends on which one it is in."""

from __future__ import annotations

import ast
import gc
import itertools
import random
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, Constraint, JsonObject, JsonSchema, Regex
from rootform.grammar.expr import POOL, Exprs
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.pools import memo, using

GRAMMAR = Path(__file__).parents[2] / "grammar"


def random_schema(rng: random.Random) -> JsonSchema:
    """A small object schema that is unlike others."""
    names = [f"{rng.choice('abcdef')}{rng.randrange(10_000)}" for _ in range(rng.randint(1, 2))]
    kinds = ['{"type":"integer"}', f'{{"type":"string","maxLength":{rng.randint(1, 99)}}}', '{"enum":["x",null]}']
    properties = ",".join(f'"{name}":{rng.choice(kinds)}' for name in names)
    return JsonSchema(f'{{"type":"object","properties":{{{properties}}},"required":["{names[0]}"]}}')


def run(batch: StateBatch | GenerationBatch, slot: int, rng: random.Random, steps: int) -> list[object]:
    """Random steps of one sequence: what it was allowed and what it took."""
    seen: list[object] = []
    for _ in range(steps):
        row = int(batch.row_ids(np.array([slot]))[0])
        few = batch.allowed(row)
        tokens = few.tolist() if few is not None else [ord("a"), ord('"')]
        token = rng.choice(tokens)
        seen += [None if few is None else tokens, token, batch.advance(np.array([slot]), np.array([token])).tolist()]
    return seen


def test_memory_stays_within_its_bound_while_schemas_come(toy_bytes) -> None:
    bound = 9 << 20
    generations = Generations(toy_bytes, max_bytes=bound)
    batch = GenerationBatch(generations)
    rng = random.Random(0)
    serials, most_live = set(), 0
    for _ in range(1000):
        root = generations.compile(random_schema(rng))
        slot = batch.open(root)
        run(batch, slot, rng, 2)
        batch.close(slot)
        serials.add(root.generation.serial)
        del root
        most_live = max(most_live, len(generations.live))
        assert generations.nbytes < bound * 5 // 4, "one constraint may go a little past a generation's share"
    assert len(serials) > 3, "the bound was never met; make it smaller"
    assert most_live <= 2


def test_memory_of_a_dropped_generation_comes_back(toy_bytes) -> None:
    generations = Generations(toy_bytes, max_bytes=12 << 20)
    rng = random.Random(1)
    first = generations.current
    pool, automaton = weakref.ref(first.automaton.exprs), weakref.ref(first.automaton)
    gone = weakref.ref(first)
    del first
    while gone() is not None:
        generations.compile(random_schema(rng))
    generations.collect()
    assert pool() is None
    gc.collect()
    assert automaton() is None


def test_tidying_gives_memory_of_dropped_generations_back_bit_by_bit(toy_bytes, monkeypatch) -> None:
    monkeypatch.setattr("rootform.grammar.work._LET_GO_AT_ONCE", 50)
    generations = Generations(toy_bytes, max_bytes=16 << 20)
    rng, pool, held = random.Random(1), generations.current.automaton.exprs, [0]
    while held[-1] or max(held) == 0:
        generations.compile(random_schema(rng))
        generations.tidy()
        held.append(len(pool.memos))
    lost = [before - now for before, now in itertools.pairwise(held) if before > now]
    assert len(lost) > 3
    assert max(lost) == 50


def test_a_generation_has_walked_strings_and_keys_before_it_is_begun(toy_bytes) -> None:
    generations = Generations(toy_bytes, max_bytes=16 << 20)
    rng, first = random.Random(5), generations.current
    while generations.current is first:
        generations.compile(random_schema(rng))
        generations.tidy()
    automaton = generations.current.automaton
    at: tuple[int, int, int] | None = automaton.start(automaton.compile(JsonObject()))
    before = automaton.misses
    for byte in b'{"a":"a':
        assert at is not None
        automaton.row_at(*at)
        at = automaton.after(*at, toy_bytes.tokens.index(bytes([byte])))
    assert automaton.misses == before


def test_an_open_sequence_goes_on_in_its_old_generation(toy_bytes) -> None:
    """Row by row as in an automaton of its own, while others fill and leave generations."""
    constraint = JsonSchema('{"type":"object","properties":{"ab":{"enum":["cd",12,{"e":null}]}},"required":["ab"]}')
    own = Automaton(toy_bytes)
    alone = StateBatch(own)
    expected = run(alone, alone.open(own.compile(constraint)), random.Random(7), 6)
    generations = Generations(toy_bytes, max_bytes=12 << 20)
    batch, rng, steps = GenerationBatch(generations), random.Random(2), random.Random(7)
    slot = batch.open(generations.compile(constraint))
    old = weakref.ref(generations.current)
    found: list[object] = []
    for _ in range(6):
        found += run(batch, slot, steps, 1)
        saved = batch.save(slot)
        serial = generations.current.serial
        while generations.current.serial == serial:
            other = batch.open(generations.compile(random_schema(rng)))
            run(batch, other, rng, 2)
            batch.close(other)
        batch.restore(slot, saved)
    assert found == expected
    assert len(generations.live) == 2
    batch.close(slot)
    assert old() is None


def test_a_batch_over_two_generations_goes_as_each_sequence_alone(toy_bytes) -> None:
    constraints: list[Constraint] = [Regex("(ab|b)*c"), Choice(("abc", "bca", "b")), Regex("a{2,5}b?")]
    generations = Generations(toy_bytes, max_bytes=12 << 20)
    batch, rng = GenerationBatch(generations), random.Random(3)
    slots = [batch.open(generations.compile(each)) for each in constraints]
    serial = generations.current.serial
    while generations.current.serial == serial:
        generations.compile(random_schema(rng))
    slots += [batch.open(generations.compile(each)) for each in reversed(constraints)]
    assert len(set(slots)) == 6
    own = Automaton(toy_bytes)
    alone = StateBatch(own)
    others = [alone.open(own.compile(each)) for each in [*constraints, *reversed(constraints)]]
    for _ in range(4):
        rows = batch.row_ids(np.array(slots))
        others_rows = alone.row_ids(np.array(others))
        expected = own.rows[others_rows]
        split = batch.split_rows(np.array([*rows, -1], np.int32))
        assert len(split) == 2
        for _, table, ids in split:
            for i in np.flatnonzero(ids >= 0):
                assert np.array_equal(table[ids[i]], expected[i])
        assert sum((ids >= 0).astype(int) for _, _, ids in split).tolist() == [1] * 6 + [0]
        assert batch.finished(np.array(slots)).tolist() == alone.finished(np.array(others)).tolist()
        assert batch.accepting(np.array(slots)).tolist() == alone.accepting(np.array(others)).tolist()
        assert [batch.closing(s) for s in slots] == [alone.closing(o) for o in others]
        tokens = np.array([rng.choice(b"abc") for _ in slots])
        assert batch.advance(np.array(slots), tokens).tolist() == alone.advance(np.array(others), tokens).tolist()


def test_the_texts_of_constraints_count_as_memory(toy_bytes) -> None:
    generations = Generations(toy_bytes)
    before = generations.nbytes
    generations.compile(JsonSchema('{"description":"' + "x" * 3_000_000 + '"}'))
    assert generations.nbytes - before > 3_000_000
    before = generations.nbytes
    generations.compile(Choice(tuple(f"{n:030d}" for n in range(10_000))))
    assert generations.nbytes - before > 10_000 * 80


def test_a_pool_has_its_own_answers() -> None:
    @memo
    def word(text: str) -> int:
        return POOL.literal(text.encode())

    base = POOL.literal(b"in both")
    pools = [Exprs(), Exprs()]
    with using(pools[0]):
        POOL.literal(b"shifts all ids")
        first = word("abc")
    with using(pools[1]):
        second = word("abc")
        assert word("abc") == second
    assert first != second
    assert pools[0].shortest(first) == pools[1].shortest(second) == b"abc"
    assert POOL.shortest(base) == b"in both"


def test_a_fork_knows_what_its_origin_knew() -> None:
    origin = Exprs()
    nested = origin.ref("nested")
    inner = origin.alt(origin.literal(b"x"), nested)
    origin.define("nested", lambda: POOL.concat(POOL.literal(b"("), inner, POOL.literal(b")")))
    fork = origin.fork()
    later = origin.literal(b"later")
    assert fork.fullmatch(nested, b"((x))")
    assert fork.shortest(nested) == b"(x)"
    assert len(fork) > len(origin), "each goes on by itself"
    assert origin.shortest(later) == b"later"


def late_imports(file: Path) -> set[str]:
    """Modules of the room that a function of a file imports when it runs."""
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    found = [each for node in functions for each in ast.walk(node) if isinstance(each, ast.ImportFrom) and each.level]
    return {f"rootform.grammar.{each.module}" for each in found}


def test_constants_are_made_before_the_first_generation() -> None:
    """A constant of a module that is imported later would name nothing in the pools of generations."""
    late = sorted(set().union(*map(late_imports, GRAMMAR.glob("*.py"))))
    code = "import importlib, rootform.grammar.generations; from rootform.grammar.expr import POOL; n = len(POOL)\n"
    code += f"for name in {late!r}: importlib.import_module(name); assert len(POOL) == n, name"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", sorted(GRAMMAR.glob("*.py")), ids=lambda file: file.stem)
def test_no_function_keeps_ids_of_expressions_for_all_pools(file: Path) -> None:
    """What imports POOL remembers by `memo`; functools is for sets of characters and the like."""
    tree = ast.parse(file.read_text())
    if not any(isinstance(n, ast.ImportFrom) and any(a.name == "POOL" for a in n.names) for n in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            caches = {ast.unparse(each).split("(")[0] for each in node.decorator_list}
            if caches & {"cache", "lru_cache", "functools.cache", "functools.lru_cache"}:
                assert node.returns is not None
                assert ast.unparse(node.returns) not in ("int", "Layout"), node.name
