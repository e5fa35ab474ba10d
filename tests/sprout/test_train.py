"""A tiny training run end to end, the schedule, and what is said when there is no SNIPS file."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from rootform.sprout import train
from rootform.sprout.evaluate import decode, free_script, keys_script, load, parse
from rootform.sprout.net import Shape
from rootform.sprout.tokenizer import END, token_id

TINY = train.Recipe(
    tokens=30_000, shape=Shape(width=64, layers=2, heads=4, inner=96), batch=1024, processes=1, average=0.9
)


def test_the_rate_is_flat_and_then_falls():
    assert train.rate_factor(0.0, 0.3) < 0.1
    assert train.rate_factor(0.2, 0.3) == 1.0
    assert 0.4 < train.rate_factor(0.65, 0.3) < 0.6
    assert train.rate_factor(1.0, 0.3) == pytest.approx(0.01)


def test_a_tiny_run_learns_and_leaves_a_model_that_loads(tmp_path: Path, tokenizer: Tokenizer):
    losses = train.grow(TINY, tokenizer, None, tmp_path / "model", rank=0)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    model, loaded = load(tmp_path / "model")
    jobs = [("Name: Ann", keys_script(loaded, ["name", "phone"])), ("hi", free_script(token_id(loaded, END)))]
    first, _ = decode(model, loaded, jobs)
    given = parse(first)
    assert isinstance(given, dict)
    assert list(given) == ["name", "phone"]


def test_the_same_seed_gives_the_same_losses(tmp_path: Path, tokenizer: Tokenizer):
    short = train.Recipe(tokens=4000, shape=TINY.shape, batch=512, processes=1)
    runs = [train.grow(short, tokenizer, None, tmp_path / str(number), rank=0) for number in (1, 2)]
    assert runs[0] == runs[1]


def test_without_snips_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    seen: list[Path | None] = []
    monkeypatch.setattr(train, "run", lambda recipe, snips, out: seen.append(snips))
    train.main(["--snips", str(tmp_path / "missing.gz"), "--out", str(tmp_path), "--tokens", "100"])
    assert seen == [None]
    assert "training on generated documents alone" in capsys.readouterr().out
