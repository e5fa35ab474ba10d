"""What stands behind a text, and some text behind which an expression may be over, compiled."""

# pyright: reportReturnType=false
# Numbers of compiled loops have 64 bits, and so are numpy's.

from __future__ import annotations

import numpy as np

from .derivative_kernels import derive
from .first_kernels import first, partition
from .machine_code import compiled
from .node_layout import CLASSES, EMPTY, LENGTH, NEVER, NOTHING, PARTITIONS
from .pool_kernels import field, in_set, nullable

NOT_SEEN = np.int64(-6)

_LETTER, _DIGIT = np.int64(97), np.int64(48)  # which most goes on with, and many texts end in
_BYTES = 256


@compiled
def behind(pool: np.ndarray, item: int, text: np.ndarray) -> int:
    """What may follow a text, (bytes,) uint8; may name the empty language by another expression than EMPTY."""
    at = 0
    while at < text.shape[0] and item > EMPTY:
        item = derive(pool, item, np.int64(text[at]), NOTHING)
        at += 1
    return item


@compiled
def way_out(pool: np.ndarray, item: int, most: int, found: np.ndarray) -> int:
    """Bytes of a text of an expression, into `found`, (most bytes,) uint8; or NOT_SEEN, though there may be one.

    It is what comes first of a letter, a digit, and other bytes in order, gone on with likewise. most: derivatives that
    are looked at.
    """
    deepest = found.shape[0]
    way, tried_at, n_classes = (
        np.zeros(deepest + 1, np.int64),
        np.zeros(deepest + 1, np.int64),
        np.zeros(deepest + 1, np.int64),
    )
    way[0] = item
    depth, tried = 0, 0
    if nullable(pool, item):
        return depth
    while depth >= 0:
        begins, number = first(pool, way[depth], NOTHING), partition(pool, way[depth], NOTHING)
        if begins < 0:
            return begins
        if number < 0:
            return number
        classes, went = pool[PARTITIONS] + CLASSES * number, False
        while not went and tried_at[depth] < _BYTES + 2:
            turn = tried_at[depth]
            tried_at[depth] += 1
            byte = _LETTER if turn == 0 else _DIGIT if turn == 1 else turn - 2
            kind = pool[classes + byte]
            if turn > 1:
                if kind != n_classes[depth]:  # they are numbered as they are met
                    continue
                n_classes[depth] += 1
            if turn > 0 and kind == pool[classes + _LETTER]:
                continue
            if turn > 1 and kind == pool[classes + _DIGIT]:
                continue
            if not in_set(pool, begins, byte):
                continue
            if tried == most:
                return NOT_SEEN
            tried += 1
            left = derive(pool, way[depth], byte, NOTHING)
            if left < 0:
                return left
            if left == EMPTY or field(pool, left, LENGTH) >= NEVER:
                continue
            found[depth] = byte
            if nullable(pool, left):
                return depth + 1
            is_new = depth + 1 < deepest
            for at in range(depth + 1):
                is_new = is_new and way[at] != left
            if is_new:
                depth += 1
                way[depth], tried_at[depth], n_classes[depth] = left, 0, 0
                went = True
        if not went:
            depth -= 1
    return NOT_SEEN
