"""Programs on a real engine, in process and over HTTP; the cache counters show that nothing shared is recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rootform import Engine, HttpClient, assistant, gen, program, select, system, user
from rootform.programs import join

SHARED = "You answer in few words, and you know the harbours of the northern seas by heart. " * 2


class Harbour(msgspec.Struct):
    depth: int
    kind: str


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Engine]:
    with Engine(tiny_model, kv_bytes=16 * 2**20, threads=1) as engine:
        yield engine


@program
def survey(s: Any, place: str) -> dict[str, list[str]]:
    s += system(SHARED)
    s += user(place)
    s += assistant(
        "It is " + select("size", ["large", "small", "middling"]) + " and " + gen("note", regex="[a-z]{3,9}")
    )
    forks = s.fork(3)
    for fork, question in zip(forks, ("depth?", "ships?", "weather?"), strict=True):
        fork += user(question)
        fork += assistant(gen("answer", max_tokens=6))
    s += user("As data")
    s += assistant(gen("data", schema=Harbour, max_tokens=60))
    return join(forks)


def test_a_program_gives_the_same_in_process_and_over_http(engine: Engine, over_http: HttpClient) -> None:
    here, there = survey.run(engine, "Kiel"), survey.run(over_http, "Kiel")
    assert here.value == there.value
    assert here.values() == there.values()
    assert here["size"] in ("large", "small", "middling")
    assert isinstance(here["data"], Harbour)
    assert len(here.value["answer"]) == 3


def prefilled(engine: Engine, run: Any) -> int:
    """Prompt tokens computed, not found in the tree, during run()."""
    before = engine.stats().prefill_tokens
    run()
    return engine.stats().prefill_tokens - before


def test_a_second_run_recomputes_only_the_last_token_of_each_prompt(engine: Engine) -> None:
    engine.clear_cache()
    first = prefilled(engine, lambda: survey.run(engine, "Bergen"))
    calls = 6  # select, note, three answers, data
    assert prefilled(engine, lambda: survey.run(engine, "Bergen")) <= calls
    assert first > len(SHARED) // 2


def test_forks_recompute_nothing_they_share(engine: Engine) -> None:
    @program
    def fan(s: Any, n: int) -> None:
        s += system(SHARED)
        for i, fork in enumerate(s.fork(n)):
            fork += user(f"{i}?")
            fork += assistant(gen("a", max_tokens=3))
            fork.wait()

    def alone(n: int) -> int:
        engine.clear_cache()
        return prefilled(engine, lambda: fan.run(engine, n))

    one, eight = alone(1), alone(8)
    own = len("user: 1?\nassistant: ")  # a token is a byte at least, so this bounds what a fork adds
    assert eight - one <= 7 * own


def test_forks_started_at_once_wait_for_the_prefix_they_share(engine: Engine) -> None:
    @program
    def at_once(s: Any) -> None:
        s += system(SHARED)
        for i, fork in enumerate(s.fork(8)):
            fork += user(f"{i}?")
            fork += assistant(gen("a", max_tokens=3))

    engine.clear_cache()
    shared_tokens = len(engine.tokenizer.encode(f"system: {SHARED}\n"))
    computed = prefilled(engine, lambda: at_once.run(engine))
    assert computed < 2 * shared_tokens
