"""Batches over pages, and when two results are the same."""

import torch


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """As torch.testing's, without the second it takes to import."""
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, atol=1e-5, rtol=1e-5), (got - expected).abs().max()


def paged(lengths, page_tokens=4, kv_heads=2, group=3, head_dim=16):
    """A batch whose tables are shuffled, and the same keys and values as one dense row per sequence."""
    torch.manual_seed(0)
    n, max_pages = len(lengths), -(-max(lengths) // page_tokens)
    table = torch.randperm(n * max_pages).view(n, max_pages).int()
    k, v = torch.randn(2, n * max_pages, page_tokens, kv_heads, head_dim)
    arrays = {
        "q": torch.randn(n, kv_heads * group, head_dim),
        "k_pages": k,
        "v_pages": v,
        "block_table": table,
        "lengths": torch.tensor(lengths, dtype=torch.int32),
    }
    dense = [
        (k[row.long()].flatten(0, 1)[:length], v[row.long()].flatten(0, 1)[:length])
        for row, length in zip(table, lengths, strict=True)
    ]
    return arrays, dense
