"""The soak's judgements, each able to find fault, and a minute of the soak itself."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from rootform.benchmarks import soak
from rootform.benchmarks.soak_server import Looks, Outputs, Witness
from rootform.engine.job import Job
from rootform.engine.types import Call

MINUTE = 60.0


def looks(**fields) -> Looks:
    counts = dict.fromkeys(Looks._fields, 0) | {
        "submitted": 9, "ended": 9, "finished": 6, "cancelled": 2, "failed": 1, "pages_total": 50, "pages_free": 50
    }  # fmt: skip
    return Looks(**(counts | fields))


def memory(mib_per_minute: float, warm_mib: float = 300.0, minutes: int = 30) -> soak.Memory:
    """Of a run that takes a third of its time to get warm, with some noise."""
    noise = itertools.cycle([0.0, 5.0, -5.0, 2.0])
    ends = [(n * MINUTE, 500 + warm_mib * min(1, 3 * n / minutes) + mib_per_minute * n) for n in range(minutes + 1)]
    return soak.judge_memory([(at, mib + next(noise)) for at, mib in ends])


def test_memory_that_grows_for_ever_is_seen_and_getting_warm_is_not():
    assert memory(0.0).is_flat
    assert memory(-3.0).is_flat
    assert not memory(3.0).is_flat
    assert memory(3.0).mib_per_hour == pytest.approx(180, abs=15)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="run longer"):
        soak.judge_memory([(0.0, 1.0), (1.0, 1.0)])


@pytest.mark.parametrize(
    ("end", "empty", "fault"),
    [
        ({}, {}, None),
        ({"ended": 8}, {}, "9 calls had 8 ends"),
        ({"finished": 7}, {}, "7 finished"),
        ({"ended_twice": 1}, {}, "second final event"),
        ({}, {"pages_free": 49}, "49 are free"),
        ({}, {"pages_locked": 1}, "50 are free"),
    ],
)
def test_what_is_wrong_at_the_end_is_told(end, empty, fault):
    faults = soak.judge_end(looks(**end), looks(**empty))
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_what_was_not_met_is_told():
    assert len(soak.not_met(looks(cancelled=0))) == 3
    met = looks(accepted_tokens=1, disk_tier_tokens=1)
    assert soak.not_met(met) == []
    assert len(soak.not_met(met, tight=True)) == 2
    assert soak.not_met(met._replace(put_back=1, gave_way=1), tight=True) == []


def test_outputs_of_one_prompt_that_differ_are_told():
    outputs = Outputs()
    for ids in ((1, 2, 3), (1, 2), (1, 2, 3, 4), ()):
        assert outputs.fault("a", ids) == ""
    assert "differ" in outputs.fault("a", (1, 2, 3, 5))
    assert outputs.fault("b", (1, 5)) == ""


def test_requests_share_beginnings_and_fit():
    context_tokens = 512
    asks = list(itertools.islice(soak.asks(3, context_tokens, 1.0), 400))
    good = [ask for ask in asks if ask.refused is None]
    assert {ask.kind for ask in asks} >= {"free text", "regex", "choice", "Person", "left", "bad request"}
    texts = [ask.body.get("prompt") or ask.body["messages"][0]["content"] for ask in good]
    assert max(map(len, texts)) + 200 <= context_tokens
    assert len(set(texts)) > 0.9 * len(texts)
    assert len({text[:15] for text in texts}) < 0.5 * len(texts)
    assert texts == [
        ask.body.get("prompt") or ask.body["messages"][0]["content"]
        for ask in itertools.islice(soak.asks(3, context_tokens, 1.0), 400)
        if ask.refused is None
    ]


def test_a_second_final_event_is_seen(monkeypatch):
    monkeypatch.setattr(Job, "finish", Job.finish)  # put back when the test is over
    monkeypatch.setattr(Job, "fail", Job.fail)

    class OneJob:
        def submit(self, call: Call) -> Job:
            return Job(lambda: None)

    witness = Witness(OneJob())  # pyright: ignore[reportArgumentType]
    job, other = witness.submit(Call(prompt="x")), witness.submit(Call(prompt="y"))
    job.fail(asyncio.CancelledError())
    assert (witness.submitted, witness.ended, witness.ended_twice) == (2, 1, 0)
    job.fail(ValueError())
    other.fail(ValueError())
    assert (witness.submitted, witness.ended, witness.ended_twice) == (2, 2, 1)


@pytest.mark.slow
def test_a_minute_of_it(tiny_model: Path, capsys):
    given = ["--minutes", "1", "--model", str(tiny_model), "--kv-tokens", "2500", "--concurrency", "24"]
    assert soak.main(given) == 0, capsys.readouterr().out
