"""Each kernel's time beside the bytes it must move and the least time that takes: at the sizes of an 8B model.

Every number is of one launch of what a layer, or a step, asks for. Data is random; pages are scattered over the pool.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from rootform.engine.kernels import decode_attention as decode
from rootform.engine.kernels import extend_attention as extend
from rootform.engine.kernels import grammar, layers, mask, sampling, tree_attention, write_kv
from rootform.engine.kernels.online import Scoring
from rootform.engine.paged_plan import DEFAULT_PAGE_TOKENS, compose

from .gpu_time import Ceilings, median_ms
from .gpu_twins import moved


class Sizes(NamedTuple):
    """Of one layer, and of the batches timed. long, prompts: contexts in tokens."""

    heads: int = 32
    kv_heads: int = 8
    dim: int = 128
    width: int = 4096
    inner: int = 14336
    vocab: int = 128_256
    batch: int = 256
    contexts: tuple[int, ...] = (1024, 4096)
    prompts: tuple[int, int] = (4, 2048)  # sequences, tokens of each
    dtype: torch.dtype = torch.bfloat16


PAGE_SIZES = (1, 16, 32, 64, 128)
SMALL = Sizes(4, 2, 16, 32, 64, 300, 5, (40, 70), (2, 20), torch.float32)
"""For a machine without a card: only to see that everything runs."""


class Timed(NamedTuple):
    """name, one run of it, the bytes it must move and the operations it must do."""

    name: str
    run: Callable[[], object]
    n_bytes: float
    flops: float = 0.0


class Row(NamedTuple):
    """One line of the table. share: of the floor in the time, 1 at best."""

    name: str
    ms: float
    mib: float
    share: float


def table(sizes: Sizes, device: torch.device, ceilings: Ceilings, deadline: float = float("inf")) -> list[Row]:
    """Time everything, or what is begun before the deadline (by time.monotonic()): what verdicts need comes first."""
    torch.manual_seed(0)
    rows = []
    for timed in everything(sizes, device):
        if rows and time.monotonic() >= deadline:
            break
        ms = median_ms(timed.run, device)
        rows.append(Row(timed.name, ms, timed.n_bytes / 2**20, ceilings.floor_ms(timed.n_bytes, timed.flops) / ms))
    return rows


def everything(sizes: Sizes, device: torch.device) -> Iterator[Timed]:
    """One after the other, so that few hold memory at once."""
    for page_tokens in PAGE_SIZES:
        yield alone(sizes, device, 64 if sizes.batch > 64 else sizes.batch, sizes.contexts[0], page_tokens)
    for context in reversed(sizes.contexts):
        yield shared(sizes, device, context, together=False)
        yield shared(sizes, device, context, together=True)
    yield from choosing(sizes, device)
    if importlib.util.find_spec("msgspec") is not None:
        yield advancing(sizes, device)
    for context in sizes.contexts:
        for batch in (1, sizes.batch):
            yield decode_of(sizes, device, batch, context, 16)
            yield alone(sizes, device, batch, context, 16)
    yield prompts(sizes, device)
    yield from small_ones(sizes, device)


def pools(sizes: Sizes, device: torch.device, n_pages: int, page_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.randn(2, n_pages, sizes.kv_heads, page_tokens, sizes.dim, device=device, dtype=sizes.dtype)
    return made[0].transpose(1, 2), made[1].transpose(1, 2)


def kv_bytes(sizes: Sizes, tokens: int) -> float:
    return 2.0 * tokens * sizes.kv_heads * sizes.dim * sizes.dtype.itemsize


def q_bytes(sizes: Sizes, tokens: int) -> float:
    """Queries read and values written."""
    return 2.0 * tokens * sizes.heads * sizes.dim * sizes.dtype.itemsize


def decode_of(sizes: Sizes, device: torch.device, batch: int, context: int, page_tokens: int) -> Timed:
    n_pages = -(-context // page_tokens)
    k, v = pools(sizes, device, batch * n_pages, page_tokens)
    table = torch.randperm(batch * n_pages, device=device).int().view(batch, n_pages)
    lengths = torch.full((batch,), context, dtype=torch.int32, device=device)
    q = torch.randn(batch, sizes.heads, sizes.dim, device=device, dtype=sizes.dtype)
    scoring = Scoring(sizes.dim**-0.5)
    return Timed(
        f"decode, batch {batch}, context {context}, pages of {page_tokens}",
        lambda: decode.decode_attention(q, k, v, table, lengths, scoring),
        kv_bytes(sizes, batch * context) + q_bytes(sizes, batch),
    )


def alone(sizes: Sizes, device: torch.device, batch: int, context: int, page_tokens: int) -> Timed:
    """What a decoding step of the engine asks for where sequences have nothing in common."""
    n_pages = -(-context // page_tokens)
    k, v = pools(sizes, device, batch * n_pages, page_tokens)
    table = np.random.default_rng(0).permutation(batch * n_pages).astype(np.int32).reshape(batch, n_pages)
    q = torch.randn(batch, sizes.heads, sizes.dim, device=device, dtype=sizes.dtype)
    work, positions = _units(sizes, device, table, context, page_tokens)
    scoring = Scoring(sizes.dim**-0.5)
    return Timed(
        f"step, batch {batch}, context {context}, pages of {page_tokens}",
        lambda: tree_attention.tree_attention(q, k, v, positions, work, scoring),
        kv_bytes(sizes, batch * context) + q_bytes(sizes, batch),
    )


def _units(
    sizes: Sizes, device: torch.device, table: np.ndarray, length: int, page_tokens: int
) -> tuple[tree_attention.Units, torch.Tensor]:
    """The work of sequences of this length with these pages, one query token each, and where those stand."""
    n, group = len(table), sizes.heads // sizes.kv_heads
    counts, n_pages = np.ones(n, dtype=np.int64), np.full(n, table.shape[1])
    made = compose(table, n_pages, np.arange(n), counts, n, group, page_tokens)
    made.set_lengths(np.full(n, length))
    lists = made.pages, made.readers, made.starts, made.stops, made.order
    units, *there = (torch.from_numpy(each).to(device) for each in (made.units, *lists))
    work = tree_attention.Units(units, made.n_wide, *there)
    return work, torch.full((n,), length - 1, dtype=torch.int32, device=device)


def shared(sizes: Sizes, device: torch.device, prefix: int, *, together: bool) -> Timed:
    """A whole batch behind one prefix, 128 tokens of each its own. together False: each reads the prefix by itself."""
    page_tokens, own = 16, 8
    n_prefix = max(1, prefix // page_tokens)
    ids = np.random.default_rng(0).permutation(n_prefix + sizes.batch * own).astype(np.int32)
    table = np.stack([np.concatenate([ids[:n_prefix], row]) for row in ids[n_prefix:].reshape(sizes.batch, own)])
    k, v = pools(sizes, device, len(ids), page_tokens)
    length = table.shape[1] * page_tokens
    q = torch.randn(sizes.batch, sizes.heads, sizes.dim, device=device, dtype=sizes.dtype)
    scoring = Scoring(sizes.dim**-0.5)
    n_bytes = kv_bytes(sizes, len(ids) * page_tokens) + q_bytes(sizes, sizes.batch)
    flops = 4.0 * sizes.batch * length * sizes.heads * sizes.dim
    if not together:
        pages = torch.from_numpy(table).to(device)
        lengths = torch.full((sizes.batch,), length, dtype=torch.int32, device=device)
        name = f"prefix of {prefix}, batch {sizes.batch}, each by itself"
        return Timed(name, lambda: decode.decode_attention(q, k, v, pages, lengths, scoring), n_bytes, flops)
    work, positions = _units(sizes, device, table, length, page_tokens)
    name = f"prefix of {prefix}, batch {sizes.batch}, read together"
    return Timed(name, lambda: tree_attention.tree_attention(q, k, v, positions, work, scoring), n_bytes, flops)


def prompts(sizes: Sizes, device: torch.device) -> Timed:
    n, tokens = sizes.prompts
    n_pages = -(-tokens // 16)
    k, v = pools(sizes, device, n * n_pages, 16)
    table = torch.randperm(n * n_pages, device=device).int().view(n, n_pages)
    lengths = torch.full((n,), tokens, dtype=torch.int32, device=device)
    stops = (torch.arange(n, device=device, dtype=torch.int32) + 1) * tokens
    q = torch.randn(n * tokens, sizes.heads, sizes.dim, device=device, dtype=sizes.dtype)
    rows = table, lengths, stops - tokens, stops, tokens
    return Timed(
        f"prompts, {n} of {tokens} tokens",
        lambda: extend.extend_attention(q, k, v, *rows, Scoring(sizes.dim**-0.5)),
        kv_bytes(sizes, n * tokens) + q_bytes(sizes, n * tokens),
        2.0 * n * tokens * tokens * sizes.heads * sizes.dim,
    )


def small_ones(sizes: Sizes, device: torch.device) -> Iterator[Timed]:
    n, item = sizes.batch, sizes.dtype.itemsize
    x, residual = torch.randn(2, n, sizes.width, device=device, dtype=sizes.dtype)
    weight = torch.ones(sizes.width, device=device, dtype=sizes.dtype)
    name = f"norm with residual, {n} rows"
    yield Timed(name, lambda: layers.rms_norm(x, weight, 1e-5, residual), 4.0 * x.numel() * item)
    both = torch.randn(n, 2 * sizes.inner, device=device, dtype=sizes.dtype)
    yield Timed(f"swiglu, {n} rows", lambda: layers.swiglu(both), 1.5 * both.numel() * item)
    k_pages, v_pages = pools(sizes, device, n, 16)
    heads = torch.randn(n, sizes.heads + 2 * sizes.kv_heads, sizes.dim, device=device, dtype=sizes.dtype)
    q, k, v = heads.split([sizes.heads, sizes.kv_heads, sizes.kv_heads], dim=1)
    angles = torch.rand(4096, sizes.dim // 2, device=device)
    rope = write_kv.Rope(angles.cos(), angles.sin())
    rows = torch.randperm(16 * n, device=device)[:n].int()
    positions = torch.randint(0, 4096, (n,), device=device, dtype=torch.int32)
    yield Timed(
        f"rope and write, {n} tokens",
        lambda: write_kv.write_kv(k, v, k_pages, v_pages, rows, q, positions, rope),
        2.0 * heads.numel() * item,
    )


def choosing(sizes: Sizes, device: torch.device) -> Iterator[Timed]:
    n, words = sizes.batch, -(-sizes.vocab // 32)
    logits = torch.randn(n, sizes.vocab, device=device)
    table = torch.randint(-(2**31), 2**31 - 1, (64, words), dtype=torch.int32, device=device)
    ids = torch.randint(0, 64, (n,), dtype=torch.int32, device=device)
    n_bytes = 4.0 * logits.numel() + 4.0 * n * words
    yield Timed(f"mask, {n} rows", lambda: mask.apply_mask(logits, table, ids), 2 * n_bytes)
    for name, temperature, top_k, top_p in (
        ("greedy", 0.0, 0, 1.0),
        ("drawn", 1.0, 0, 1.0),
        ("top-k, top-p", 1.0, 50, 0.9),
    ):
        draws = sampling.Draws(
            torch.full((n,), temperature, device=device, dtype=torch.float64),
            torch.full((n,), top_k, device=device, dtype=torch.int32),
            torch.full((n,), top_p, device=device, dtype=torch.float64),
            torch.zeros(n, device=device, dtype=torch.float64),
            torch.rand(n, device=device, dtype=torch.float64),
        )

        def run(draws: sampling.Draws = draws) -> object:
            return sampling.sample(logits, table, ids, draws)

        yield Timed(f"masked sampling, {n} rows, {name}", run, n_bytes)


def advancing(sizes: Sizes, device: torch.device) -> Timed:
    """Sequences of a real grammar, all of whose answers the tables hold or miss as they did in a walk of its texts."""
    from .gpu_grammar_case import Advance

    batch, steps = Advance().walk()
    automaton = batch._automaton
    places, slots, tokens = steps[-1]
    found = slots >= 0
    n = sizes.batch
    sequences = moved(torch.from_numpy(np.resize(places[slots[found]], (n, 3))), str(device))
    there = torch.arange(n, dtype=torch.int32, device=device)
    taken = moved(torch.from_numpy(np.resize(tokens[found], n)), str(device))
    tables = moved(grammar.tables_of(automaton), str(device))
    widest = automaton.vocabulary.max_token_bytes
    name = f"grammars advanced, {n} sequences"
    return Timed(name, lambda: grammar.advance(sequences.clone(), there, taken, tables, widest), 100.0 * n)


def best_page(rows: list[Row]) -> tuple[int, str]:
    """The page size with the quickest attention of a decoding step, and a line about it: a size within 2 % of the
    quickest is as good, and the smallest of these wastes least."""
    what = rows[0].name.rsplit(", pages of ", 1)[0]  # the first rows differ in nothing else
    times = {int(row.name.rsplit(" ", 1)[1]): row.ms for row in rows if row.name.startswith(f"{what}, pages of ")}
    quickest = min(times.values())
    best = min(size for size, ms in times.items() if ms <= 1.02 * quickest)
    shown = ", ".join(f"{size}: {ms:.4f} ms" for size, ms in sorted(times.items()))
    default = "the default" if best == DEFAULT_PAGE_TOKENS else f"--page-tokens {best}"
    return best, f"pages of {best} tokens are best here ({default}); {what}, by page size: {shown}"


def describe(rows: list[Row]) -> str:
    """As a table of Markdown."""
    lines = ["| kernel | ms | MiB to move | floor / time |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.name} | {row.ms:.4f} | {row.mib:.1f} | {row.share:.0%} |" for row in rows)])
