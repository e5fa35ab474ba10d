"""Instructions that numba has no words for: products of pairs of bfloat16 numbers, in vectors (AVX512_BF16).

Each function is for compiled loops alone and becomes LLVM's instructions there. Arrays are contiguous, each followed by
the number of the first element meant; nothing is checked. A pair is two bfloat16 numbers that follow each other along
the sum of a product, as a uint32 with the first one in its lower half. "lanes" is the width of a vector, 16 or 8: one
float32, or one pair, for each of so many rows of queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

KEYS = 16
"""So many keys dots() takes at once."""
ROWS = 4
"""So many rows of queries add_values() takes at once."""
LANES = (16, 8)
VALUES = 16
"""add_values() takes values of a multiple of so many numbers."""

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_LOWEST, _LEAST = -3.0e38, -125.0
_LINE = 32  # bfloat16 numbers that are fetched at once
_LLVM = (20, 0, 0)  # older ones take other types of vectors
_USUAL_PAIRS = (32, 64)  # of keys; with others addresses are computed as it goes
_POLYNOMIAL = (
    0.0009381164563819766,
    0.009186874143779278,
    0.05527813360095024,
    0.24017158150672913,
    0.6931421756744385,
    0.9999999403953552,
)


class _BFloat(ir.Type):
    """bfloat, which llvmlite has no class for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def available() -> bool:
    """Whether this processor has the instructions, and numba writes code for this one and knows them."""
    told = (getattr(config, name, None) for name in ("CPU_NAME", "CPU_FEATURES"))  # NUMBA_CPU_NAME: maybe of another
    is_told = any(each is not None for each in told)
    if is_told or tuple(binding.llvm_version_info) < _LLVM:
        return False
    return bool(binding.get_host_cpu_features().get("avx512bf16", False))


def emitted(function: Callable[..., Any]) -> Any:
    """The function that gives what to emit, as one for compiled loops, which give it all arguments but the first."""
    return intrinsic(function)


class Emit:
    """What all of them need while their instructions are written."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.b, self.types, self.arguments = context, builder, signature.args, arguments

    def when(self, x: Any, known: Sequence[int], emit: Callable[[int | None], None], *, otherwise: bool) -> None:
        """What emit() writes for the one of these numbers that x is; for others what it writes for None, or nothing."""
        if not known:
            if otherwise:
                emit(None)
            return
        with self.b.if_else(self.b.icmp_signed("==", x, _I64(known[0]))) as (then, other):
            with then:
                emit(known[0])
            with other:
                self.when(x, known[1:], emit, otherwise=otherwise)

    def start(self, n: int) -> Any:
        """The address of the array that is argument n, at the element that argument n + 1 says."""
        return self.array(n, self.arguments[n + 1])

    def array(self, n: int, first: Any) -> Any:
        """The address of the array that is argument n, at an element."""
        array = self.context.make_array(self.types[n])(self.context, self.b, self.arguments[n])
        return self.b.gep(array.data, [first])

    def at(self, address: Any, index: Any) -> Any:
        return self.b.gep(address, [index if isinstance(index, ir.Value) else _I64(index)])

    def read(self, address: Any, kind: ir.Type) -> Any:
        """A number or vector of this kind, from elements of any."""
        value = self.b.load(self.b.bitcast(address, kind.as_pointer()), typ=kind)
        value.align = 2
        return value

    def write(self, value: Any, address: Any) -> None:
        self.b.store(value, self.b.bitcast(address, value.type.as_pointer())).align = 4

    def all(self, x: Any, lanes: int) -> Any:
        """A vector with x everywhere."""
        vector = ir.VectorType(x.type, lanes)
        first = self.b.insert_element(ir.Constant(vector, ir.Undefined), x, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
        return self.b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    def constant(self, x: float, lanes: int) -> Any:
        kind = _I32 if isinstance(x, int) else _F32
        return ir.Constant(ir.VectorType(kind, lanes), [x] * lanes)

    def call(self, name: str, *values: Any) -> Any:
        """An intrinsic of LLVM whose result is of the first value's type."""
        kind = ir.FunctionType(values[0].type, [value.type for value in values])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), values)

    def dot(self, total: Any, a: Any, b: Any) -> Any:
        """total + the products of pairs a and b, by lane."""
        lanes = total.type.count
        pairs = ir.VectorType(_BFloat(), 2 * lanes)
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
        return self.call(name, total, self.b.bitcast(a, pairs), self.b.bitcast(b, pairs))

    def larger(self, a: Any, b: Any) -> Any:
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.call(f"llvm.fma.v{a.type.count}f32", a, b, c)

    def exp2(self, x: Any) -> Any:
        """2 ** x for x <= 30, right to 1e-7 of it; 0 below -125. See loops.exp2."""
        b, lanes = self.b, x.type.count
        above = self.call(f"llvm.ceil.v{lanes}f32", x)
        r = b.fsub(x, above)
        p = self.constant(_POLYNOMIAL[0], lanes)
        for factor in _POLYNOMIAL[1:]:
            p = self.multiply_add(p, r, self.constant(factor, lanes))
        whole = b.fptosi(above, ir.VectorType(_I32, lanes))
        power = b.add(b.bitcast(p, whole.type), b.shl(whole, self.constant(23, lanes)))
        is_nothing = b.fcmp_ordered("<", x, self.constant(_LEAST, lanes))  # the rest may be anything then
        return b.select(is_nothing, self.constant(0.0, lanes), b.bitcast(power, x.type))

    def across(self, x: Any, join: Callable[[Any, Any], Any]) -> Any:
        """One number of all lanes, which are joined by twos."""
        lanes = x.type.count
        kind, nothing = ir.VectorType(_I32, lanes), ir.Constant(x.type, ir.Undefined)
        step = lanes // 2
        while step:
            others = ir.Constant(kind, [n ^ step for n in range(lanes)])
            x = join(x, self.b.shuffle_vector(x, nothing, others))
            step //= 2
        return self.b.extract_element(x, _I32(0))

    def fetch(self, place: Any, n: Any) -> None:
        """Have n bfloat16 numbers from there on on their way to the second nearest cache."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        prefetch = cgutils.get_or_insert_function(self.b.module, kind, "llvm.prefetch.p0")
        with cgutils.for_range_slice(self.b, _I64(0), n, _I64(_LINE), _I64) as (at, _):
            self.b.call(prefetch, [self.b.bitcast(self.at(place, at), byte), *map(_I32, (0, 2, 1))])

    def variables(self, n: int, initial: Any) -> list[Any]:
        found = [cgutils.alloca_once(self.b, initial.type) for _ in range(n)]
        for each in found:
            self.b.store(initial, each)
        return found


@emitted
def dots(
    typing: Any,
    queries: Any,
    query: Any,
    keys: Any,
    key: Any,
    into: Any,
    first: Any,
    n_pairs: Any,
    lanes: Any,
    factor: Any,
) -> Any:
    """into (KEYS, lanes) float32: the products of KEYS keys, one after another, each 2 * n_pairs bfloat16 numbers as
    uint16, with queries (n_pairs, lanes), pairs; times factor, float32."""

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)

        def emit(n_lanes: int | None) -> None:
            e.when(e.arguments[6], _USUAL_PAIRS, lambda n: _dots(e, n_lanes or 0, n), otherwise=True)

        e.when(e.arguments[7], LANES, emit, otherwise=False)
        return context.get_dummy_value()

    return signature(queries, keys, into, numbers=(types.int64, types.int64, types.float32)), generate


@emitted
def soften(
    typing: Any, scores: Any, score: Any, rows: Any, row: Any, weights: Any, weight: Any, n_pairs: Any, lanes: Any
) -> Any:
    """Scores (2 * n_pairs, lanes) float32, to the base 2, become weights (n_pairs, lanes), pairs along the keys.

    rows (3, lanes) float32: the largest score so far, the sum of weights so far, which are 2 to the power of score
    minus the largest; both are brought up to date. The last: what earlier weights are to be multiplied with. A score
    far below all others, and below -1e35, has a weight of 0.
    """

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        e.when(e.arguments[7], LANES, lambda n: _soften(e, n or 0), otherwise=False)
        return context.get_dummy_value()

    return signature(scores, rows, weights, numbers=(types.int64,) * 2), generate


@emitted
def add_values(
    typing: Any,
    weights: Any,
    weight: Any,
    values: Any,
    value: Any,
    shrinks: Any,
    shrink: Any,
    totals: Any,
    total: Any,
    n_pairs: Any,
    lanes: Any,
    value_dim: Any,
) -> Any:
    """ROWS rows of totals (rows, value_dim) float32, times shrinks (rows,), gain the sums of values by weights.

    weights: pairs, (n_pairs, lanes), of which the first ROWS lanes from `weight` on are meant; values (n_pairs,
    value_dim): pairs along the keys.
    """

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        value_dim, wide = e.arguments[10], 4 * VALUES
        whole = builder.and_(value_dim, _I64(-wide))
        with cgutils.for_range_slice(builder, _I64(0), whole, _I64(wide), _I64) as (at, _):
            _add_values(e, at, 4)
        with cgutils.for_range_slice(builder, whole, value_dim, _I64(VALUES), _I64) as (at, _):
            _add_values(e, at, 1)
        return context.get_dummy_value()

    return signature(weights, values, shrinks, totals, numbers=(types.int64,) * 3), generate


@emitted
def fetch(typing: Any, rows: Any, first: Any, n: Any) -> Any:
    """Have n bfloat16 numbers on their way to a near cache; where there are none, nothing happens."""

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        e = Emit(context, builder, signed, arguments)
        e.fetch(e.start(0), arguments[2])
        return context.get_dummy_value()

    return signature(rows, numbers=(types.int64,)), generate


def signature(*arrays: Any, numbers: tuple[Any, ...]) -> Any:
    """Of arrays, each followed by a place in it, and then of numbers."""
    placed = [each for array in arrays for each in (array, types.int64)]
    return types.void(*placed, *numbers)


def _dots(e: Emit, lanes: int, known_pairs: int | None) -> None:
    queries, keys, into = e.start(0), e.start(2), e.start(4)
    n_pairs = e.arguments[6] if known_pairs is None else _I64(known_pairs)
    totals = e.variables(KEYS, e.constant(0.0, lanes))
    with cgutils.for_range(e.b, n_pairs) as loop:
        some = e.read(e.at(queries, e.b.mul(loop.index, _I64(lanes))), ir.VectorType(_I32, lanes))
        pair = e.at(keys, e.b.mul(loop.index, _I64(2)))
        for n, total in enumerate(totals):
            key = e.all(e.read(e.at(pair, e.b.mul(_I64(2 * n), n_pairs)), _I32), lanes)
            e.b.store(e.dot(e.b.load(total), some, key), total)
    factor = e.all(e.arguments[8], lanes)
    for n, total in enumerate(totals):
        e.write(e.b.fmul(e.b.load(total), factor), e.at(into, n * lanes))


def _soften(e: Emit, lanes: int) -> None:
    b, vector = e.b, ir.VectorType(_F32, lanes)
    scores, rows, weights, n_pairs = e.start(0), e.start(2), e.start(4), e.arguments[6]
    (most,) = e.variables(1, e.constant(_LOWEST, lanes))
    with cgutils.for_range(b, n_pairs) as loop:
        at = e.at(scores, b.mul(loop.index, _I64(2 * lanes)))
        two = e.larger(e.read(at, vector), e.read(e.at(at, lanes), vector))
        b.store(e.larger(b.load(most), two), most)
    top = e.read(rows, vector)
    new_top = e.larger(b.load(most), top)
    sums = e.variables(2, e.constant(0.0, lanes))
    half, high = e.constant(0x8000, lanes), e.constant(-0x10000, lanes)
    with cgutils.for_range(b, n_pairs) as loop:
        at, found = e.at(scores, b.mul(loop.index, _I64(2 * lanes))), []
        for n, total in enumerate(sums):
            x = e.exp2(b.fsub(e.read(e.at(at, n * lanes), vector), new_top))
            b.store(b.fadd(b.load(total), x), total)
            found.append(b.add(b.bitcast(x, half.type), half))
        pair = b.or_(b.lshr(found[0], e.constant(16, lanes)), b.and_(found[1], high))
        e.write(pair, e.at(weights, b.mul(loop.index, _I64(lanes))))
    shrink = e.exp2(b.fsub(top, new_top))
    before = e.read(e.at(rows, lanes), vector)
    e.write(new_top, rows)
    e.write(e.multiply_add(before, shrink, b.fadd(*map(b.load, sums))), e.at(rows, lanes))
    e.write(shrink, e.at(rows, 2 * lanes))


def _add_values(e: Emit, first: Any, n_vectors: int) -> None:
    """Of 16 * n_vectors numbers of each value, from the first on."""
    b, vector = e.b, ir.VectorType(_F32, 16)
    weights, values, shrinks, totals = e.start(0), e.at(e.start(2), first), e.start(4), e.at(e.start(6), first)
    n_pairs, lanes, value_dim = e.arguments[8:11]
    places = [
        (row, n, e.at(totals, b.add(b.mul(_I64(row), value_dim), _I64(16 * n))))
        for row in range(ROWS)
        for n in range(n_vectors)
    ]
    shrunk = [e.all(e.read(e.at(shrinks, row), _F32), 16) for row in range(ROWS)]
    sums = [e.variables(1, b.fmul(e.read(place, vector), shrunk[row]))[0] for row, _, place in places]
    with cgutils.for_range(b, n_pairs) as loop:
        value = e.at(values, b.mul(loop.index, value_dim))
        some = [e.read(e.at(value, 16 * n), ir.VectorType(_I32, 16)) for n in range(n_vectors)]
        weight = e.at(weights, b.mul(loop.index, lanes))
        pairs = [e.all(e.read(e.at(weight, row), _I32), 16) for row in range(ROWS)]
        for (row, n, _), total in zip(places, sums, strict=True):
            b.store(e.dot(b.load(total), pairs[row], some[n]), total)
    for (_, _, place), total in zip(places, sums, strict=True):
        e.write(b.load(total), place)
