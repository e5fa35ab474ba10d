"""Constraints on disk: those used most come back first, within bounds, and no file is believed that should not be."""

from __future__ import annotations

import itertools
import logging
import math
import random
import stat
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from rootform.grammar import kept_files
from rootform.grammar.constraints import Choice, Constraint, Grammar, JsonObject, JsonSchema, Regex, StructuralTag
from rootform.grammar.kept_constraints import KeptConstraints

CONSTRAINTS: list[Constraint] = [
    Regex("a+"),
    Regex("a+", backend="outlines"),
    Choice(("x", "\u00e4", "")),
    JsonSchema('{"type":"integer"}', "flexible", property_order="any", documents=(("u", "{}"),), lenient=True),
    JsonSchema('{"type":"integer"}'),
    JsonObject("indent"),
    Grammar('root ::= "a"', "gbnf"),
    StructuralTag('{"type":"structural_tag","format":{"type":"any_text"}}'),
]
DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def make(folder: Path, clock: Clock | None = None, **bounds: int) -> KeptConstraints:
    return KeptConstraints(folder, "name", clock=clock or Clock(), **bounds)


def test_every_kind_comes_back_as_it_was_used_most_first(tmp_path: Path) -> None:
    kept, order = make(tmp_path), random.Random(1).sample(CONSTRAINTS, len(CONSTRAINTS))
    for uses, constraint in enumerate(order, 1):
        for _ in range(uses):
            kept.note(msgspec.structs.replace(constraint))
    kept.save()
    assert make(tmp_path).by_use() == order[::-1]
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600


@given(uses=st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3)), max_size=40), cut=st.integers(0, 40))
def test_a_use_counts_half_as_much_each_day_across_starts(tmp_path_factory, uses, cut: int) -> None:
    folder, clock = tmp_path_factory.mktemp("kept"), Clock()
    kept, times = make(folder, clock), []
    for n, (which, days) in enumerate(uses):
        if n == cut:
            kept.save()
            kept = make(folder, clock)
        clock.now += days * DAY
        kept.note(CONSTRAINTS[which])
        times.append((which, clock.now))
    sums = [sum(math.exp2(-(clock.now - at) / DAY) for which, at in times if which == n) for n in range(6)]
    found = [sums[CONSTRAINTS.index(each)] for each in kept.by_use()]
    assert len(found) == sum(each > 0 for each in sums)
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(found))


def test_bounds_keep_those_used_most(tmp_path: Path) -> None:
    clock = Clock()
    kept = make(tmp_path, clock, most=10)
    for n in range(100):
        kept.note(Regex(f"a{{{n}}}"))
        kept.note(Regex("often"))
        clock.now += 1
        assert len(kept) <= 21
    kept.save()
    assert make(tmp_path).by_use() == [Regex("often"), *(Regex(f"a{{{n}}}") for n in range(99, 90, -1))]
    kept = make(tmp_path / "bytes", clock, max_bytes=2000)
    for n in range(100):
        kept.note(Regex(f"{n:400}"))
        clock.now += 1
    kept.save()
    assert 500 < kept.file.stat().st_size < 2500
    assert make(tmp_path / "bytes", max_bytes=2000).by_use()[0] == Regex(f"{99:400}")


def test_what_will_not_come_again_or_is_too_long_is_not_kept(tmp_path: Path) -> None:
    kept = make(tmp_path)
    kept.note(JsonSchema("{}", document="a text"))
    kept.note(Choice(tuple(f"option {n:9}" for n in range(200_000))))
    assert len(kept) == 0
    kept.save()
    assert not kept.file.exists(), "nothing to write"


def test_what_is_dropped_is_gone_until_it_is_used_again(tmp_path: Path) -> None:
    kept = make(tmp_path)
    kept.note(CONSTRAINTS[0])
    kept.note(CONSTRAINTS[1])
    kept.drop(CONSTRAINTS[0])
    kept.drop(CONSTRAINTS[2])
    kept.save()
    kept = make(tmp_path)
    assert kept.by_use() == [CONSTRAINTS[1]]
    kept.note(CONSTRAINTS[0])
    assert set(kept.by_use()) == {*CONSTRAINTS[:2]}


def test_damaged_and_foreign_files_are_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = make(tmp_path)
    for constraint in CONSTRAINTS:
        kept.note(constraint)
    kept.save()
    good, rng = kept.file.read_bytes(), random.Random(3)
    broken = [b"", b"rootform rows 1\n" + good, good[:-1], good[: len(good) // 2], good + b"0"]
    for _ in range(20):
        at = rng.randrange(len(good))
        broken.append(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    for data in broken:
        kept.file.write_bytes(data)
        assert_not_used(kept.file, caplog)
    (tmp_path / "other.constraints").write_bytes(good)
    kept.file.write_bytes((tmp_path / "other.constraints").read_bytes())
    assert len(make(tmp_path)) == len(CONSTRAINTS)
    caplog.clear()
    assert len(KeptConstraints(tmp_path, "other")) == 0
    assert "of another vocabulary" in caplog.text


@pytest.mark.parametrize(
    "data",
    [[1, 2], [[{"type": "regex", "pattern": 7}, 1, 1.0, 1.0]], [[{"type": "magic"}, 1, 1.0, 1.0]], {"a": 1}],
)
def test_a_file_that_holds_something_else_is_not_used(tmp_path: Path, caplog, data: object) -> None:
    file = make(tmp_path).file
    assert kept_files.write(file, b"rootform constraints 1\n", {}, msgspec.msgpack.encode(data))
    assert_not_used(file, caplog)


def assert_not_used(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(make(file.parent)) == 0
    (record,) = caplog.records
    assert str(file) in record.getMessage()


def test_a_folder_that_cannot_be_written_is_a_warning_each_time(tmp_path: Path, caplog) -> None:
    kept = make(tmp_path)
    kept.note(CONSTRAINTS[0])
    kept.file.mkdir(parents=True)
    for _ in range(2):
        caplog.clear()
        kept.save()
        assert "could not be written" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == [kept.file.name], "nothing half-written is left"
