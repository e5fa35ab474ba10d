"""Logprobs over the allowed tokens and over all, against log_softmax of transformers' own logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from rootform import RootformError
from rootform.engine.accept import make_call

PROMPT = "The date is "
CONSTRAINTS = {
    "choice": {"choice": ["2021-12-31 of the year", "2021-11-30", "never"]},
    "schema": {
        "schema": {
            "type": "object",
            "properties": {"name": {"const": "forced text, 2140000"}, "n": {"type": "integer", "maximum": 99}},
            "required": ["name", "n"],
            "additionalProperties": False,
        }
    },
    "pattern": {"regex": "[0-9]{4}-[0-9]{2}-[0-9]{2}"},
    "none": {},
}


@pytest.fixture(scope="module")
def engine(tiny_model: Path, device: Any):
    with device.engine(tiny_model) as engine:
        yield engine


def logprobs_of(tiny_model: Path, ids: list[int]) -> np.ndarray:
    """(tokens, vocab): of each token after the first, by transformers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1).numpy()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_over_the_vocabulary_they_are_those_of_transformers(engine, tiny_model, name, temperature):
    asked = {"max_tokens": 60, "seed": 4, "temperature": temperature, "top_logprobs": 3, **CONSTRAINTS[name]}
    plain = engine.generate(PROMPT, **asked)
    done = engine.generate(PROMPT, logprobs_over="vocabulary", **asked)
    assert (done.text, done.token_ids, done.finish_reason) == (plain.text, plain.token_ids, plain.finish_reason)
    prompt = tokens_of(tiny_model, PROMPT)
    expected = logprobs_of(tiny_model, [*prompt, *done.token_ids])
    assert [one.token_id for one in done.logprobs] == list(done.token_ids)
    for at, one in enumerate(done.logprobs, len(prompt) - 1):
        assert one.logprob == pytest.approx(expected[at][one.token_id], abs=2e-4)
        best = np.sort(expected[at])[::-1][:3]
        assert [logprob for _, _, logprob in one.top] == pytest.approx(best.tolist(), abs=2e-4)
        for token, _, logprob in one.top:
            assert logprob == pytest.approx(expected[at][token], abs=2e-4)
    if name == "none":
        got, wanted = (
            [(each.logprob, *(top[2] for top in each.top)) for each in one.logprobs] for one in (done, plain)
        )
        assert np.allclose(got, wanted, rtol=0, atol=2e-4)
    else:
        assert done.usage.forward_passes == len(done.token_ids)
        assert any(
            ours.logprob > theirs.logprob + 0.01 for ours, theirs in zip(plain.logprobs, done.logprobs, strict=True)
        )


def tokens_of(tiny_model: Path, text: str) -> list[int]:
    return transformers.AutoTokenizer.from_pretrained(tiny_model)(text).input_ids


def test_in_a_batch_they_are_the_same_and_do_not_touch_the_others(engine):
    asked = {"max_tokens": 60, "top_logprobs": 2, "temperature": 1.0, "seed": 9}
    calls = [(name, over) for name in CONSTRAINTS for over in ("allowed", "vocabulary")]
    alone = [engine.generate(PROMPT, logprobs_over=over, **CONSTRAINTS[name], **asked) for name, over in calls]
    jobs = [engine.submit(make_call(PROMPT, logprobs_over=over, **CONSTRAINTS[name], **asked)) for name, over in calls]
    for one, job in zip(alone, jobs, strict=True):
        done = job.result(60)
        assert (done.token_ids, done.finish_reason) == (one.token_ids, one.finish_reason)
        got, wanted = ([each.logprob for each in which.logprobs] for which in (done, one))
        assert got == pytest.approx(wanted, abs=2e-4)


def test_at_every_limit_the_text_is_the_same(engine):
    """Forced text that no longer has room is spelled otherwise, and the answer closed early: in both ways alike."""
    for limit in range(12, 45, 3):
        ends = []
        for over in ("allowed", "vocabulary"):
            asked = {"max_tokens": limit, "top_logprobs": 0, "logprobs_over": over, **CONSTRAINTS["choice"]}
            try:
                done = engine.generate(PROMPT, **asked)
                ends.append((done.token_ids, done.finish_reason, done.closed_early))
            except RootformError as error:
                ends.append(str(error))
        assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logprobs_over": "all", "top_logprobs": 1}, "allowed or vocabulary"),
        ({"logprobs_over": "vocabulary"}, "needs logprobs"),
    ],
)
def test_what_cannot_be_meant_is_refused(engine, fields, message):
    with pytest.raises(RootformError, match=message) as caught:
        engine.generate(PROMPT, max_tokens=2, **fields)
    assert caught.value.param == "logprobs_over"
