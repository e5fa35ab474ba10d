"""Functions over arrays made machine code by numba, and kept on disk, so that the next process need not make them.

What is kept names the file a function is in, not those it calls: when any file of kernels has changed, all is made
anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba

_FOLDER = Path(__file__).parent
_SOURCES = ("kernels.py", "node_layout.py", "machine_code.py")


def _forget_what_is_old() -> None:
    """Remove kept machine code that was made from other sources than these."""
    kept = _FOLDER / "__pycache__"
    sources = sorted({*_FOLDER.glob("*_kernels.py"), *(_FOLDER / name for name in _SOURCES)})
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = kept / "machine-code.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    names = {source.stem for source in sources}
    for file in [*kept.glob("*.nbi"), *kept.glob("*.nbc")]:
        if file.name.partition(".")[0] in names:
            file.unlink(missing_ok=True)
    kept.mkdir(exist_ok=True)
    fresh = stamp.with_suffix(f".{os.getpid()}")
    fresh.write_text(digest)
    fresh.replace(stamp)


with suppress(OSError):  # where nothing can be written, numba keeps it elsewhere, or nowhere
    _forget_what_is_old()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called with arguments of new types."""
    return _kept(function)


def compiled_as(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`compiled`, for arguments of given types: once, whatever constants it is called with."""
    return lambda function: _kept(function, signature)


def compiled_within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled as part of those that call it: functions that call each other could not be kept."""
    return numba.njit(inline="always")(function)


def compile_now(function: Any, signature: str) -> None:
    """Compile a `compiled` function that calls itself, for these types alone.

    Called with others it would be compiled once more, as a function that calls the first one: that could not be kept.
    """
    function.compile(signature)
    function.disable_compile()


def _kept(function: Callable[..., Any], *signature: str) -> Callable[..., Any]:
    try:
        return numba.njit(*signature, cache=True)(function)
    except RuntimeError:  # no place to keep it
        return numba.njit(*signature)(function)
