"""The output layer for few tokens: the same logits as for all, whatever stands in the other rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rootform.engine.heads import Head

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
    logits, full = head(hidden, wanted), hidden @ linear.weight.T
    assert logits.shape == full.shape
    for row, ids in enumerate(wanted):
        columns = slice(None) if ids is None else ids
        torch.testing.assert_close(logits[row, columns], full[row, columns])
        if ids is not None:
            alone = head(hidden[row : row + 1], [ids])
            assert torch.equal(alone[0, ids], logits[row, ids])


@pytest.mark.parametrize("layer", [{"wide": VOCAB + 1}, {"shared": False}, {"bias": True}])
def test_a_layer_that_cannot_be_read_by_rows_gives_all_logits(layer):
    head, linear = make(**layer)
    hidden = torch.randn(3, WIDTH)
    torch.testing.assert_close(head(hidden, [np.array([4])] * 3), linear(hidden))


def test_bfloat16_rows_are_summed_in_float32():
    head, linear = make(dtype=torch.bfloat16)
    hidden = torch.randn(4, WIDTH).bfloat16()
    ids = np.array([3, 9])
    want = (hidden.float() @ linear.weight.float().T)[:, ids]
    torch.testing.assert_close(head(hidden, [ids] * 4)[:, ids].float(), want.bfloat16().float())
