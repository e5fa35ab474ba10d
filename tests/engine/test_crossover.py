"""What is cheaper to read together: the rule, and that measuring it gives numbers of the right kind."""

from __future__ import annotations

import pytest
import torch

from rootform.engine.attention import attend_near, attend_product
from rootform.engine.crossover import Costs, measure
from rootform.engine.geometry import LayerGeometry

LAYER = LayerGeometry(query_heads=4, kv_heads=2, key_dim=8, value_dim=8)


def test_a_product_pays_when_it_saves_more_than_its_price() -> None:
    costs = Costs(near=2.0, call=100.0, key=1.0, pair=1.0)
    assert not costs.product_pays(1, 10_000)  # what a pair saves is paid for its key and for itself
    assert not costs.product_pays(2, 100)
    assert costs.product_pays(2, 101)


def test_measured_costs_follow_the_clock() -> None:
    ticks = iter(range(10**6))
    costs = measure(LAYER, torch.float32, clock=lambda: float(next(ticks)))  # everything takes 1
    assert costs == Costs(near=1 / 4096, call=1.0, key=0.0, pair=0.0)
    real = measure(LAYER, torch.float32)
    assert min(real.near, real.call) > 0
    assert min(real.key, real.pair) >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_keys", [1, 3, 256, 700])
def test_both_ways_of_reading_give_plain_attention(dtype: torch.dtype, n_keys: int) -> None:
    torch.manual_seed(n_keys)
    queries = torch.randn(5, 2, 3, 8).to(dtype)
    keys, values = torch.randn(2, n_keys, 8).to(dtype), torch.randn(2, n_keys, 16).to(dtype)
    scores = torch.einsum("thgd,hld->thgl", queries.double(), keys.double()) * 8**-0.5
    wanted = torch.einsum("thgl,hld->thgd", scores.softmax(-1), values.double()).flatten(1, 2)
    found = attend_near(queries, keys, values, n_keys), attend_product(queries, keys, values)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for each in found:
        torch.testing.assert_close(torch.from_numpy(each.out), wanted.float(), rtol=tolerance, atol=tolerance)
        lse = scores.logsumexp(-1).flatten(1, 2).float()
        torch.testing.assert_close(torch.from_numpy(each.lse), lse, rtol=tolerance, atol=tolerance)


def test_what_a_token_reads_by_itself_does_not_depend_on_its_company() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(9, 2, 3, 8), torch.randn(2, 300, 8), torch.randn(2, 300, 8)
    together = attend_near(queries, keys, values, 300)
    for n in range(9):
        alone = attend_near(queries[n : n + 1], keys, values, 300)
        assert (alone.out[0] == together.out[n]).all()
        assert (alone.lse[0] == together.lse[n]).all()
