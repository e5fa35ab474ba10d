"""Instructions for attention of a few rows of queries, as vectors.py has them for many: here keys are the lanes.

Rows and numbers as there. Keys and values are read where they are, so n of them, any number, are named by their first
element; scores and weights stand row by row, `stride` apart, a multiple of LANES.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import Emit, emitted, signature

LANES = 16
"""Keys whose scores are one vector."""
DIMS = 32
"""Sizes of keys and values are multiples of it."""
_MOST_ROWS = 4  # whose sums of values are held in registers at once

_F32, _I16, _I32, _I64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_LOWEST = -3.0e38
_USUAL_DIMS = (64, 128)


@emitted
def score_rows(
    typing: Any,
    queries: Any,
    query: Any,
    keys: Any,
    key: Any,
    into: Any,
    first: Any,
    n_keys: Any,
    n_rows: Any,
    stride: Any,
    key_dim: Any,
    factor: Any,
    ahead: Any,
    n_ahead: Any,
) -> Any:
    """into (n_rows, stride) float32: the products of queries (n_rows, key_dim) with n_keys keys, times factor. Up to
    the next multiple of LANES the last key's again.

    ahead: where n_ahead other keys stand, which are read next.
    """

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        e.when(arguments[9], _USUAL_DIMS, lambda dim: _score_rows(e, dim), otherwise=True)
        return context.get_dummy_value()

    return signature(queries, keys, into, numbers=(*(types.int64,) * 4, types.float32, *(types.int64,) * 2)), generate


@emitted
def soften_rows(
    typing: Any,
    scores: Any,
    score: Any,
    rows: Any,
    row: Any,
    weights: Any,
    weight: Any,
    n_keys: Any,
    n_rows: Any,
    stride: Any,
) -> Any:
    """Scores (n_rows, stride) float32, to the base 2, become weights (n_rows, stride) in bfloat16, as uint16.

    rows (3, n_rows) float32: see vectors.soften(). Of n_keys; from there on weights are 0 up to the next multiple of
    LANES.
    """

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        with cgutils.for_range(builder, arguments[7]) as loop:
            _soften_row(e, loop.index)
        return context.get_dummy_value()

    return signature(scores, rows, weights, numbers=(types.int64,) * 3), generate


@emitted
def add_rows(
    typing: Any,
    weights: Any,
    weight: Any,
    values: Any,
    value: Any,
    shrinks: Any,
    shrink: Any,
    totals: Any,
    total: Any,
    n_keys: Any,
    n_rows: Any,
    stride: Any,
    value_dim: Any,
    ahead: Any,
    n_ahead: Any,
) -> Any:
    """totals (n_rows, value_dim) float32, times shrinks (n_rows,), gain the sums of n_keys values by
    weights (n_rows, stride), bfloat16. ahead: as in score_rows()."""

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        n_rows, value_dim = arguments[9], arguments[11]
        wide = 2 * DIMS
        whole = builder.and_(value_dim, _I64(-wide))
        for size, start, stop in ((wide, _I64(0), whole), (DIMS, whole, value_dim)):
            with cgutils.for_range_slice(builder, start, stop, _I64(size), _I64) as (at, _):
                _add_to_all(e, at, size, n_rows)
        return context.get_dummy_value()

    return signature(weights, values, shrinks, totals, numbers=(types.int64,) * 6), generate


def _fetch(e: Emit, rows: Any, first: Any, n_rows: Any, n: int, dim: Any, size: int | None = None) -> None:
    """Have n rows from the first on, as far as there are so many, on their way here; of each `size` numbers, or all."""
    with e.b.if_then(e.b.icmp_signed("<", first, n_rows)):
        place = e.at(rows, e.b.mul(first, dim))
        for number in range(n):
            e.fetch(e.at(place, e.b.mul(_I64(number), dim)), dim if size is None else _I64(size))


# -- scores ---------------------------------------------------------------------------------------------------------


def _score_rows(e: Emit, known_dim: int | None) -> None:
    b = e.b
    keys, n_keys = e.start(2), e.arguments[6]
    key_dim = e.arguments[9] if known_dim is None else _I64(known_dim)
    ahead, n_ahead = e.array(2, e.arguments[11]), e.arguments[12]
    whole = b.and_(n_keys, _I64(-LANES))
    with cgutils.for_range_slice(b, _I64(0), whole, _I64(LANES), _I64) as (at, _):
        _fetch(e, ahead, at, n_ahead, LANES, key_dim)
        first = e.at(keys, b.mul(at, key_dim))
        _score_some(e, at, [e.at(first, b.mul(_I64(n), key_dim)) for n in range(LANES)], key_dim)
    with b.if_then(b.icmp_signed("<", whole, n_keys)):
        _fetch(e, ahead, whole, n_ahead, LANES, key_dim)
        last = b.sub(n_keys, _I64(1))
        places = []
        for n in range(LANES):
            number = b.add(whole, _I64(n))
            number = b.select(b.icmp_signed("<", number, last), number, last)
            places.append(e.at(keys, b.mul(number, key_dim)))
        _score_some(e, whole, places, key_dim)
    padded = b.and_(b.add(n_keys, _I64(LANES - 1)), _I64(-LANES))
    with cgutils.for_range_slice(b, padded, n_ahead, _I64(1), _I64) as (at, _):
        _fetch(e, ahead, at, n_ahead, 1, key_dim)


def _score_some(e: Emit, at: Any, places: Sequence[Any], key_dim: Any) -> None:
    """Scores of the keys at these places, for all rows."""
    b, pairs = e.b, ir.VectorType(_I32, LANES)
    queries, into, stride = e.start(0), e.start(4), e.arguments[8]
    factor = e.all(e.arguments[10], LANES)
    with cgutils.for_range(b, e.arguments[7]) as row:
        query = e.at(queries, b.mul(row.index, key_dim))
        totals = e.variables(LANES, e.constant(0.0, LANES))
        with cgutils.for_range_slice(b, _I64(0), key_dim, _I64(DIMS), _I64) as (d, _):
            some = e.read(e.at(query, d), pairs)
            for total, place in zip(totals, places, strict=True):
                b.store(e.dot(b.load(total), some, e.read(e.at(place, d), pairs)), total)
        found = _sums([b.load(total) for total in totals], b)
        e.write(b.fmul(found, factor), e.at(into, b.add(b.mul(row.index, stride), at)))


def _sums(vectors: Sequence[Any], b: Any) -> Any:
    """A vector of the sums of these 16: halves are added to halves, of two vectors at a time."""
    low = [0, 16, 1, 17], [0, 1, 16, 17]  # of each four, as instructions have it
    high = [2, 18, 3, 19], [2, 3, 18, 19]
    for few, rest in zip(low, high, strict=True):
        masks = [[4 * four + n for four in range(4) for n in some] for some in (few, rest)]
        vectors = _halved(vectors, masks, b)
    fours = [[0, 8, 16, 24], [4, 12, 20, 28]]
    masks = [[n + k for n in some for k in range(4)] for some in fours]
    for _ in range(2):
        vectors = _halved(vectors, masks, b)
    return vectors[0]


def _halved(vectors: Sequence[Any], masks: Sequence[Sequence[int]], b: Any) -> list[Any]:
    kind = ir.VectorType(_I32, LANES)
    return [
        b.fadd(*(b.shuffle_vector(one, other, ir.Constant(kind, list(mask))) for mask in masks))
        for one, other in zip(vectors[::2], vectors[1::2], strict=True)
    ]


# -- weights --------------------------------------------------------------------------------------------------------


def _soften_row(e: Emit, row: Any) -> None:
    b, vector = e.b, ir.VectorType(_F32, LANES)
    n_keys, stride = e.arguments[6], e.arguments[8]
    scores, weights = (e.at(e.start(n), b.mul(row, stride)) for n in (0, 4))
    state = [e.at(e.start(2), b.add(b.mul(_I64(n), e.arguments[7]), row)) for n in range(3)]
    padded = b.and_(b.add(n_keys, _I64(LANES - 1)), _I64(-LANES))
    lowest = e.constant(_LOWEST, LANES)

    def are_keys(at: Any) -> Any:
        lanes = ir.Constant(ir.VectorType(_I32, LANES), list(range(LANES)))
        return b.icmp_signed("<", lanes, e.all(b.trunc(b.sub(n_keys, at), _I32), LANES))

    (most,) = e.variables(1, lowest)
    with cgutils.for_range_slice(b, _I64(0), padded, _I64(LANES), _I64) as (at, _):
        x = b.select(are_keys(at), e.read(e.at(scores, at), vector), lowest)
        b.store(e.larger(b.load(most), x), most)
    top = e.read(state[0], _F32)
    new_top = e.larger(e.across(b.load(most), e.larger), top)
    tops = e.all(new_top, LANES)
    (total,) = e.variables(1, e.constant(0.0, LANES))
    with cgutils.for_range_slice(b, _I64(0), padded, _I64(LANES), _I64) as (at, _):
        x = e.exp2(b.fsub(e.read(e.at(scores, at), vector), tops))
        x = b.select(are_keys(at), x, e.constant(0.0, LANES))
        b.store(b.fadd(b.load(total), x), total)
        rounded = b.add(b.bitcast(x, ir.VectorType(_I32, LANES)), e.constant(0x8000, LANES))
        short = b.trunc(b.lshr(rounded, e.constant(16, LANES)), ir.VectorType(_I16, LANES))
        e.write(short, e.at(weights, at))
    shrink = b.extract_element(e.exp2(e.all(b.fsub(top, new_top), LANES)), _I32(0))
    sum_ = e.across(b.load(total), b.fadd)
    before = e.read(state[1], _F32)
    for place, x in zip(state, (new_top, b.fadd(b.fmul(before, shrink), sum_), shrink), strict=True):
        e.write(x, place)


# -- values ---------------------------------------------------------------------------------------------------------


def _add_to_all(e: Emit, first: Any, size: int, n_rows: Any) -> None:
    """Numbers first .. first + size - 1 of values, for all rows, some at a time."""
    b = e.b
    whole = b.and_(n_rows, _I64(-_MOST_ROWS))
    with cgutils.for_range_slice(b, _I64(0), whole, _I64(_MOST_ROWS), _I64) as (row, _):
        _add_to_some(e, first, size, row, _MOST_ROWS)
    rest = b.sub(n_rows, whole)
    e.when(rest, range(1, _MOST_ROWS), lambda n: _add_to_some(e, first, size, whole, n or 0), otherwise=False)


def _add_to_some(e: Emit, first: Any, size: int, first_row: Any, n_rows: int) -> None:
    b, vector = e.b, ir.VectorType(_F32, LANES)
    n_keys, _, stride, value_dim = e.arguments[8:12]
    values, shrinks, totals = e.at(e.start(2), first), e.start(4), e.at(e.start(6), first)
    ahead, n_ahead = e.at(e.array(2, e.arguments[12]), first), e.arguments[13]
    weights = [e.at(e.start(0), b.mul(b.add(first_row, _I64(n)), stride)) for n in range(n_rows)]
    n_vectors, sums = size // LANES, []
    for n in range(n_rows):
        row = b.add(first_row, _I64(n))
        shrink = e.all(e.read(e.at(shrinks, row), _F32), LANES)
        place = e.at(totals, b.mul(row, value_dim))
        found = [b.fmul(e.read(e.at(place, LANES * k), vector), shrink) for k in range(n_vectors)]
        sums.append((place, [e.variables(1, x)[0] for x in _apart(found, b)]))

    def add(at: Any, one: Any, other: Any) -> None:
        pairs = [x for k in range(0, size, DIMS) for x in _pairs(e, e.at(one, k), e.at(other, k))]
        for weight, (_, some) in zip(weights, sums, strict=True):
            both = e.all(e.read(e.at(weight, at), _I32), LANES)
            for x, total in zip(pairs, some, strict=True):
                b.store(e.dot(b.load(total), both, x), total)

    whole = b.and_(n_keys, _I64(-2))
    with cgutils.for_range_slice(b, _I64(0), whole, _I64(2), _I64) as (at, _):
        place = e.at(values, b.mul(at, value_dim))
        with b.if_then(b.icmp_signed("==", first_row, _I64(0))):
            _fetch(e, ahead, at, n_ahead, 2, value_dim, size)
        add(at, place, e.at(place, value_dim))
    with b.if_then(b.icmp_signed("<", whole, n_keys)):  # its pair has a weight of 0
        place = e.at(values, b.mul(whole, value_dim))
        add(whole, place, place)
    fetched = b.select(b.icmp_signed("==", first_row, _I64(0)), n_ahead, whole)
    with cgutils.for_range_slice(b, whole, fetched, _I64(1), _I64) as (at, _):
        _fetch(e, ahead, at, n_ahead, 1, value_dim, size)
    for place, some in sums:
        for k, x in enumerate(_together([b.load(each) for each in some], b)):
            e.write(x, e.at(place, LANES * k))


def _pairs(e: Emit, one: Any, other: Any) -> list[Any]:
    """DIMS numbers of two values as pairs, two vectors, in the order of instructions: see _apart()."""
    kind = ir.VectorType(_I16, DIMS)
    a, b = e.read(one, kind), e.read(other, kind)
    masks = [
        [8 * eight + 4 * half + n + k for eight in range(4) for n in range(4) for k in (0, DIMS)] for half in (0, 1)
    ]
    return [
        e.b.bitcast(e.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, DIMS), mask)), ir.VectorType(_I32, LANES))
        for mask in masks
    ]


def _apart(vectors: Sequence[Any], b: Any) -> list[Any]:
    """Of each 32 numbers the first and second fours of each eight."""
    return _shuffled(vectors, [[8 * n + half + k for n in range(4) for k in range(4)] for half in (0, 4)], b)


def _together(vectors: Sequence[Any], b: Any) -> list[Any]:
    """What _apart() took apart."""
    masks = [[4 * n + k + other for n in some for other in (0, 16) for k in range(4)] for some in ((0, 1), (2, 3))]
    return _shuffled(vectors, masks, b)


def _shuffled(vectors: Sequence[Any], masks: Sequence[Sequence[int]], b: Any) -> list[Any]:
    kind = ir.VectorType(_I32, LANES)
    return [
        b.shuffle_vector(one, other, ir.Constant(kind, list(mask)))
        for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        for mask in masks
    ]
