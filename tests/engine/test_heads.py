"""The output layer for few tokens: the same logits as for all, whatever stands in the other rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rootform import Engine
from rootform.engine.heads import Head
from rootform.engine.ports import Few

VOCAB, WIDTH = 50, 24


def make(*, dtype=torch.float32, wide=0, shared=True, bias=False):
    torch.manual_seed(1)
    embedding = torch.randn(VOCAB, WIDTH).to(dtype)
    linear = nn.Linear(WIDTH, VOCAB, bias=bias, dtype=dtype).requires_grad_(False)
    linear.weight = nn.Parameter(embedding if shared else embedding.clone(), requires_grad=False)
    return Head(linear, embedding, wide=wide), linear


few = st.none() | st.sets(st.integers(0, VOCAB - 1), min_size=1, max_size=8).map(lambda ids: np.array(sorted(ids)))


@settings(deadline=None, max_examples=50)
@given(wanted=st.lists(few, min_size=1, max_size=7), seed=st.integers(0, 1000))
def test_wanted_logits_are_those_of_the_full_product_and_none_depends_on_other_rows(wanted, seed):
    head, linear = make()
    hidden = torch.randn(len(wanted), WIDTH, generator=torch.Generator().manual_seed(seed))
    logits, full = head(hidden, Few.of(wanted)), hidden @ linear.weight.T
    assert logits.shape == full.shape
    for row, ids in enumerate(wanted):
        columns = slice(None) if ids is None else ids
        torch.testing.assert_close(logits[row, columns], full[row, columns])
        if ids is not None:
            alone = head(hidden[row : row + 1], Few.of([ids]))
            assert torch.equal(alone[0, ids], logits[row, ids])


@pytest.mark.parametrize("layer", [{"wide": VOCAB + 1}, {"shared": False}, {"bias": True}])
def test_a_layer_that_cannot_be_read_by_rows_gives_all_logits(layer):
    head, linear = make(**layer)
    hidden = torch.randn(3, WIDTH)
    torch.testing.assert_close(head(hidden, Few.of([np.array([4])] * 3)), linear(hidden))


def test_bfloat16_rows_are_summed_in_float32():
    head, linear = make(dtype=torch.bfloat16)
    hidden = torch.randn(4, WIDTH).bfloat16()
    ids = np.array([3, 9])
    want = (hidden.float() @ linear.weight.float().T)[:, ids]
    torch.testing.assert_close(head(hidden, Few.of([ids] * 4))[:, ids].float(), want.bfloat16().float())


@pytest.mark.parametrize("width", [768, 2048])
def test_rows_as_wide_as_models_do_not_depend_on_others_either(width):
    """To the last bit: few or many rows, with few or many tokens."""
    torch.manual_seed(0)
    embedding = torch.randn(300, width)
    linear = nn.Linear(width, 300, bias=False).requires_grad_(False)
    linear.weight = nn.Parameter(embedding, requires_grad=False)
    head, hidden = Head(linear, embedding, wide=0), torch.randn(40, width)
    wanted = [np.arange(n, n + 1 + n * n % 60) for n in range(40)]
    together = head(hidden, Few.of(wanted))
    for row, ids in enumerate(wanted):
        assert torch.equal(head(hidden[row : row + 1], Few.of([ids]))[0, ids], together[row, ids])
        assert torch.equal(head(hidden[row : row + 1], Few.of([ids[:1]]))[0, ids[:1]], together[row, ids[:1]])


# -- a model -----------------------------------------------------------------------------------------------------------

ASKED = [
    {"regex": "[0-9]{4}-[0-9]{2}"},
    {"choice": ["never", "nearly", "2140000", "21400001"]},
    {"schema": {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "string", "maxLength": 5}}}},
]


@pytest.fixture(scope="module")
def tied(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one matrix for its first layer and its last."""
    folder = tmp_path_factory.mktemp("tied")
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    config.tie_word_embeddings = True
    torch.manual_seed(4)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def answers(folder: Path, *, wide: int, temperature: float):
    """Of an engine whose layer counts as wide from so many tokens on; and how many rows had few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Head.__init__.__kwdefaults__, "wide", wide)
        with Engine(folder, threads=1) as engine:
            done = [
                engine.generate("a prompt", max_tokens=40, top_logprobs=3, temperature=temperature, seed=5, **each)
                for each in ASKED
            ]
            return done, engine._loop.model._decoder._head._rows is not None


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_says_the_same_with_few_rows_and_as_likely(tied: Path, temperature: float) -> None:
    few, reads_few = answers(tied, wide=0, temperature=temperature)
    full, reads_few_too = answers(tied, wide=10**6, temperature=temperature)
    assert (reads_few, reads_few_too) == (True, False)
    for one, other in zip(few, full, strict=True):
        assert (one.text, one.token_ids) == (other.text, other.token_ids)
        got, wanted = ([top[2] for each in done.logprobs for top in each.top] for done in (one, other))
        assert got == pytest.approx(wanted, abs=1e-4)


def test_logprobs_over_few_tokens_are_those_of_transformers(tied: Path) -> None:
    done = answers(tied, wide=0, temperature=1.0)[0][0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tied)
    digits = tokenizer.convert_tokens_to_ids(list("0123456789"))
    prompt = tokenizer("a prompt").input_ids
    model = transformers.AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *done.token_ids]])).logits[0, len(prompt) - 1 :]
    assert len(done.token_ids) == len("2021-12")
    for at, each in enumerate(done.logprobs):
        if at == len("2021"):
            assert each.logprob == 0.0
        else:
            over = torch.log_softmax(logits[at, digits], dim=0)
            assert each.logprob == pytest.approx(float(over[digits.index(each.token_id)]), abs=2e-4)
            assert [top[2] for top in each.top] == pytest.approx(over.sort(descending=True)[0][:3].tolist(), abs=2e-4)
