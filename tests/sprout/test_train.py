"""A tiny training run end to end, the schedule, and what is said when there is no SNIPS file."""

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from rootform.sprout import train
from rootform.sprout.evaluate import decode, free_script, keys_script, load
from rootform.sprout.net import Shape
from rootform.sprout.tokenizer import END, token_id

CYCLE = train.Cycle(20_000, (0.5, 0.5), first_stage=0.5, peak=1.0, flat=0.3, dropout=(0.0, 0.1))
TINY = train.Recipe(
    shape=Shape(width=64, layers=2, heads=4, inner=96),
    cycles=(CYCLE, replace(CYCLE, tokens=10_000, peak=0.5)),
    batch=1024,
    processes=1,
    average=0.9,
)


def test_the_rate_is_flat_and_then_falls():
    assert CYCLE.rate_factor(0.0) < 0.1
    assert CYCLE.rate_factor(0.2) == 1.0
    assert 0.4 < CYCLE.rate_factor(0.65) < 0.6
    assert CYCLE.rate_factor(1.0) == pytest.approx(0.01)
    assert replace(CYCLE, peak=0.5).rate_factor(0.2) == 0.5


def test_scaled_cycles_keep_their_proportions():
    scaled = train.scaled(TINY.cycles, 3_000)
    assert [cycle.tokens for cycle in scaled] == [2_000, 1_000]
    assert [cycle.peak for cycle in scaled] == [1.0, 0.5]


def test_a_tiny_run_learns_and_leaves_a_model_that_loads(tmp_path: Path, tokenizer: Tokenizer):
    losses = train.grow(TINY, tokenizer, None, tmp_path / "model", rank=0)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    model, loaded = load(tmp_path / "model")
    jobs = [("Name: Ann", keys_script(loaded, ["name", "phone"])), ("hi", free_script(token_id(loaded, END)))]
    first, _ = decode(model, loaded, jobs)
    assert first.startswith('{"name":')
    assert ',"phone":' in first
    assert first.endswith("}")


def test_the_same_seed_gives_the_same_losses(tmp_path: Path, tokenizer: Tokenizer):
    short = replace(TINY, cycles=train.scaled(TINY.cycles, 4_000), batch=512)
    runs = [train.grow(short, tokenizer, None, tmp_path / str(number), rank=0) for number in (1, 2)]
    assert runs[0] == runs[1]


def test_a_run_can_go_on_from_an_exported_model(tmp_path: Path, tokenizer: Tokenizer):
    first = train.grow(TINY, tokenizer, None, tmp_path / "first", rank=0)
    on = replace(TINY, cycles=(replace(CYCLE, tokens=4_000, peak=0.1),))
    more = train.grow(on, tokenizer, None, tmp_path / "second", rank=0, start=tmp_path / "first")
    assert more[0] < 0.8 * first[0]


def test_without_snips_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    seen: list[Path | None] = []
    monkeypatch.setattr(train, "run", lambda recipe, snips, out, start: seen.append(snips))
    train.main(["--snips", str(tmp_path / "missing.gz"), "--out", str(tmp_path), "--tokens", "100"])
    assert seen == [None]
    assert "training on generated documents alone" in capsys.readouterr().out
