"""Packed linear layers give what nn.Linear gives, and the same for a row whatever its neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rootform.engine.linears import Int8Linear, PackedLinear, can_pack, int8_trouble, pack_linears, padded_count

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="no oneDNN on this machine")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (192, 512), (33, 97), (512, 192)])
def test_equals_nn_linear(n_in: int, n_out: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(n_in, n_out, bias=bias)
    packed = PackedLinear(linear)
    with torch.inference_mode():
        for shape in ((n_in,), (1, n_in), (1, 7, n_in), (2, 3, 5, n_in)):
            x = torch.randn(shape)
            torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-5)


def test_bfloat16() -> None:
    if not can_pack(torch.bfloat16):
        pytest.skip("this CPU has no bfloat16 kernels")
    linear = nn.Linear(64, 48).bfloat16()
    x = torch.randn(5, 64).bfloat16()
    with torch.inference_mode():
        out = PackedLinear(linear)(x)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, linear(x), rtol=2e-2, atol=2e-2)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(192, 512, bias=False))
    x = torch.randn(64, 192)
    with torch.inference_mode():
        together = packed(x)
        for rows in (1, 2, 3, 8, 33):
            assert torch.equal(packed(x[:rows]), together[:rows])


def test_few_numbers_of_rows_are_multiplied_and_hardly_more_rows_than_asked_for() -> None:
    counts = [padded_count(n) for n in range(2049)]
    assert all(n <= m <= max(n + 3, n * 5 // 4) for n, m in enumerate(counts))
    assert sum(counts[1:1025]) < 1.08 * sum(range(1025))
    assert counts == sorted(counts)
    assert [padded_count(m) for m in counts] == counts
    assert len(set(counts[:1025])) <= 43  # with 0
    assert counts[0] == 0


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 5, 63, 65, 257, 513])
def test_rows_added_to_a_product_change_nothing(n_rows: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 64)
    x = torch.randn(n_rows, 48)
    with torch.inference_mode():
        out = PackedLinear(linear)(x)
        assert out.shape == (n_rows, 64)
        torch.testing.assert_close(out, linear(x), rtol=1e-5, atol=1e-5)


def test_every_linear_of_a_model_is_replaced_and_its_subclasses_are_not() -> None:
    class Special(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 5)), Special(5, 6))
    x = torch.randn(2, 3)
    with torch.inference_mode():
        before = model(x)
        assert pack_linears(model) == 2
        assert [type(each).__name__ for each in model.modules() if "Linear" in type(each).__name__] == [
            "PackedLinear"
        ] * 2
        assert type(model[2]) is Special
        torch.testing.assert_close(model(x), before)
    assert pack_linears(nn.Sequential(nn.Linear(3, 4).double())) == 0


# -- int8 -------------------------------------------------------------------------------------------------------

needs_int8 = pytest.mark.skipif(int8_trouble() is not None, reason=f"no int8 here: {int8_trouble()}")


def by_hand(linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """The product with weights and inputs rounded as Int8Linear says, in float64."""

    def rounded(values: torch.Tensor) -> torch.Tensor:
        step = values.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 127
        return torch.floor(values / step + 0.5).clamp(-127, 127) * step

    weight = linear.weight.double()
    step = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
    out = rounded(x.double()) @ (torch.round(weight / step) * step).T
    return out if linear.bias is None else out + linear.bias.double()


@needs_int8
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (192, 512), (33, 97), (512, 192)])
def test_int8_is_the_product_of_rounded_numbers(n_in: int, n_out: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(n_in, n_out, bias=bias).requires_grad_(False)
    int8 = Int8Linear(linear)
    for shape in ((n_in,), (1, n_in), (2, 3, n_in), (70, n_in)):
        x = torch.randn(shape) * 3
        got = int8(x)
        assert got.shape == (*shape[:-1], n_out)
        # a number between two steps may be rounded either way: a half in one of the sum's terms
        torch.testing.assert_close(got, by_hand(linear, x).float(), rtol=1e-3, atol=0.02)


@needs_int8
def test_int8_is_near_the_true_product_and_an_outlier_spoils_its_own_row_only() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(512, 256).requires_grad_(False)
    int8 = Int8Linear(linear)
    x = torch.randn(64, 512)
    x[7] *= 1000
    error = (int8(x) - linear(x)).norm(dim=1) / linear(x).norm(dim=1)
    assert error.max() < 0.02


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_int8_row_does_not_depend_on_its_neighbours(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    int8 = Int8Linear(nn.Linear(2048, 768).to(dtype).requires_grad_(False))
    x = torch.randn(130, 2048).to(dtype)
    x[5] = 0
    together = int8(x)
    assert together.dtype == dtype
    for rows in (1, 2, 3, 8, 33, 96):
        assert torch.equal(int8(x[:rows]), together[:rows])
    assert torch.equal(int8(x[40:41]), together[40:41])
