"""Functions over arrays made machine code by numba, and kept on disk, so that the next process need not make them.

What is kept names the file a function is in, not those it calls: when any file of kernels has changed, all is made
anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba


def forget_what_is_old(sources: Iterable[Path]) -> None:
    """Remove kept machine code that was made from other sources than these, which are of one folder."""
    files = sorted(sources)
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    with suppress(OSError):  # where nothing can be written, numba keeps it elsewhere, or nowhere
        _forget(files[0].parent / "__pycache__", {file.stem for file in files}, digest)


def _forget(kept: Path, modules: set[str], digest: str) -> None:
    stamp = kept / "machine-code.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    for file in [*kept.glob("*.nbi"), *kept.glob("*.nbc")]:
        if file.name.partition(".")[0] in modules:
            file.unlink(missing_ok=True)
    kept.mkdir(exist_ok=True)
    fresh = stamp.with_suffix(f".{os.getpid()}")
    fresh.write_text(digest)
    fresh.replace(stamp)


_FOLDER = Path(__file__).parent
_OTHERS = ("kernels.py", "node_layout.py", "machine_code.py", "verbatim.py")
forget_what_is_old({*_FOLDER.glob("*_kernels.py"), *filter(Path.is_file, (_FOLDER / name for name in _OTHERS))})


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called with arguments of new types."""
    return kept(function)


def compiled_as(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`compiled`, for arguments of given types: once, whatever constants it is called with."""
    return lambda function: kept(function, signature)


def compiled_within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled as part of those that call it: functions that call each other could not be kept."""
    return numba.njit(inline="always")(function)


def compile_now(function: Any, signature: str) -> None:
    """Compile a `compiled` function that calls itself, for these types alone.

    Called with others it would be compiled once more, as a function that calls the first one: that could not be kept.
    """
    function.compile(signature)
    function.disable_compile()


def kept(function: Callable[..., Any], *signature: str, **options: Any) -> Callable[..., Any]:
    """The function compiled by numba with options of its own, from disk where it was made before."""
    jit: Any = numba.njit  # whose types do not have the signature first
    try:
        return jit(*signature, cache=True, **options)(function)
    except RuntimeError:  # no place to keep it
        return jit(*signature, **options)(function)


def is_to_be_made() -> bool:
    """Whether the first use of a grammar will take a minute: beside the sources there is room for it, and none yet."""
    kept = _FOLDER / "__pycache__"
    return os.access(kept, os.W_OK) and not any(kept.glob("derivative_kernels.*.nbi"))
