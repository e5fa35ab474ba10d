"""Which pool of expressions this thread builds in, and what functions remember of it.

Modules that build expressions write `POOL.concat(...)`; `POOL` stands for the pool that `using` names in this thread,
and for the base pool, which holds the constants of the modules, where nothing is named. Ids of expressions mean
something in their own pool alone, so a function that returns them keeps them by `memo`, never by `functools.cache`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from .expr import Exprs

P = ParamSpec("P")
T = TypeVar("T")

_MARKS = itertools.count()
"""Numbers that stand for functions: a key that named the function itself would be work for the garbage collector."""


class _Current(threading.local):
    pool: Exprs


_current = _Current()


class _Forward:
    """Stands for the pool of the thread that asks."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_current.pool, name)

    def __len__(self) -> int:
        return len(_current.pool)


def forward(base: Exprs) -> Exprs:
    """What stands for the pool of each thread: `base` where none is named. To be called once."""
    _Current.pool = base
    return cast("Exprs", _Forward())


def current() -> Exprs:
    """The pool of this thread itself."""
    return _current.pool


class using:
    """Inside, this thread builds in a pool. A class: a generator takes longer than some of what is done inside."""

    __slots__ = ("_before", "_pool")

    def __init__(self, pool: Exprs) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        self._before = _current.pool
        _current.pool = self._pool

    def __exit__(self, *_: object) -> None:
        _current.pool = self._before


def memo(make: Callable[P, T]) -> Callable[P, T]:
    """`functools.cache` for functions that return ids of expressions: each pool remembers its own answers."""
    mark = next(_MARKS)

    @wraps(make)
    def look_up(*args: P.args, **kwargs: P.kwargs) -> T:
        memos: dict[Hashable, Any] = _current.pool.memos
        key = (mark, args, tuple(kwargs.items())) if kwargs else (mark, args)
        known = memos.get(key, memos)
        if known is memos:
            known = memos[key] = make(*args, **kwargs)
        return known

    return look_up
