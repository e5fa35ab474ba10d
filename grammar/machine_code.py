"""Functions over arrays made machine code by numba, and kept on disk, so that the next process need not make them.

Numba's own files name the source that a function is in, as it is when the function is defined. Those it calls are in
other sources, which may have changed since: a process that runs while a package is upgraded, or its files are edited,
would keep code of the old ones for all that start later. (Seen: a kernel that calls another gave the results of the
other's old source in new processes.) Here code is kept in a folder named by a digest of all the sources as this process
found them, and is not added to once they are others. Each piece is a file of its own, named by all that decides it,
written whole and checked when read. Of several processes one at a time makes what is not there; the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import compiler, config, typeinfer
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

try:
    import fcntl
except ImportError:  # no such locks on this system: what two processes make at once is made twice
    fcntl = None

log = logging.getLogger(__name__)

_PREFIX = "machine-code-"
_SUFFIX = ".code"
_SUM_BYTES = 16
_LOOK_AGAIN_S = 0.05
_LONGEST_WAIT_S = 600.0  # for another process; then everything is made here


class MachineCode:
    """The machine code of functions whose sources are these files, of one folder.

    All that decides it must stand in them: functions called and constants used, too.
    """

    def __init__(self, sources: Iterable[Path]) -> None:
        self._sources = sorted(sources)
        self._digest, self._stats = _digest(self._sources), _stats(self._sources)
        self.folders = [folder / f"{_PREFIX}{self._digest}" for folder in _folders(self._sources[0].parent)]
        self.alone = _Alone(self)

    def kept(self, function: Callable[..., Any], *signature: str, **options: Any) -> Any:
        """The function compiled by numba with options of its own, from disk where it was made before.

        signature: at once and for these types alone; without, for each kind of arguments it is called with.
        """
        made: Any = numba.njit(**options)(function)
        if made is function:  # NUMBA_DISABLE_JIT
            return made
        made._cache = _Pieces(self, function)
        made.compile = self.alone.when_called(made.compile)
        if signature:
            with typeinfer.register_dispatcher(made):
                made.compile(signature[0])
            made.disable_compile()
        return made

    def holds(self, module: str) -> bool:
        """Whether something of a module is kept."""
        return any(any(folder.glob(f"{module}.*{_SUFFIX}")) for folder in self.folders)

    def is_as_it_was(self) -> bool:
        """Whether the sources are still those that this process found."""
        with suppress(OSError):
            stats = _stats(self._sources)
            if stats == self._stats or _digest(self._sources) == self._digest:
                self._stats = stats
                return True
        return False

    def read(self, name: str) -> bytes | None:
        """A piece, from whichever folder has it whole."""
        for folder in self.folders:
            with suppress(OSError):
                data = (folder / name).read_bytes()
                if hashlib.blake2b(data[_SUM_BYTES:], digest_size=_SUM_BYTES).digest() == data[:_SUM_BYTES]:
                    return data[_SUM_BYTES:]
                log.warning("%s is damaged, and made anew", folder / name)
        return None

    def write(self, name: str, data: bytes) -> None:
        """Keep a piece in the first folder that can be written to; nowhere, if there is none or the sources changed."""
        if not self.is_as_it_was():
            return
        for folder in self.folders:
            with suppress(OSError):
                _make(folder)
                written = folder / f"{name}.{os.getpid()}"
                written.write_bytes(hashlib.blake2b(data, digest_size=_SUM_BYTES).digest() + data)
                written.replace(folder / name)
                return


class _Pieces(FunctionCache):
    """What numba asks for the compiled forms of one function."""

    def __init__(self, code: MachineCode, function: Callable[..., Any]) -> None:
        """Without that of the class it extends, which would choose files of its own."""
        self._code = code
        self._py_func = function
        self._enabled = True
        self._place = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        """For numba's statistics."""
        return str(self._code.folders[0])

    def flush(self) -> None:
        """Nothing: pieces are named by what decides them."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The form for arguments of these types; None: it has to be made, and no other process is at it."""
        target_context.refresh()
        key = self._index_key(sig, target_context.codegen())
        found = self._load(key, target_context)
        if found is None and self._code.alone.take():
            found = self._load(key, target_context)  # another made it meanwhile
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a form."""
        if any(not each.can_cache for each in data.lifted) or data.library.has_dynamic_globals:
            return  # of this process alone
        key = self._index_key(sig, data.codegen)
        self._code.write(self._name(key), dumps((key, data._reduce())))

    def _load(self, key: Any, target_context: Any) -> Any:
        data = self._code.read(self._name(key))
        if data is None:
            return None
        known, reduced = pickle.loads(data)
        return compiler.CompileResult._rebuild(target_context, *reduced) if known == key else None

    def _name(self, key: Any) -> str:
        """Of the function, its types, the processor, and the versions of what compiles it."""
        decides = repr((key, numba.__version__, sys.implementation.cache_tag, sys.abiflags))
        return f"{self._place}-{hashlib.sha256(decides.encode()).hexdigest()[:24]}{_SUFFIX}"


class _Alone:
    """Has one process at a time make machine code: taken at the first piece that is missing, until that is made."""

    def __init__(self, code: MachineCode) -> None:
        self._code = code
        self._depth = 0
        self._held: int | None = None

    def when_called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which gives back what was taken inside when the outermost such call ends."""

        def call(*args: Any) -> Any:
            with global_compiler_lock:
                self._depth += 1
                try:
                    return function(*args)
                finally:
                    self._depth -= 1
                    if not self._depth and self._held is not None:
                        os.close(self._held)
                        self._held = None

        return call

    def take(self) -> bool:
        """Wait until no other process makes machine code; whether one may have done so since."""
        if self._held is not None or fcntl is None or not self._code.is_as_it_was():
            return False
        for folder in self._code.folders:
            with suppress(OSError):
                _make(folder)
                self._held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
                _wait_for(self._held)
                return True
        return False


def _wait_for(file: int) -> None:
    """Raises OSError where files cannot be locked."""
    assert fcntl is not None
    until = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                log.warning("another process makes machine code for %g s now; it is made here, too", _LONGEST_WAIT_S)
                return None
            time.sleep(_LOOK_AGAIN_S)


def _folders(sources: Path) -> list[Path]:
    """Where machine code of a folder's sources may be: as numba has it, beside them or in the user's cache."""
    name = f"{sources.name}_{hashlib.sha256(str(sources).encode()).hexdigest()[:16]}"
    user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    given = getattr(config, "CACHE_DIR", "")
    first = [Path(given) / name] if given else []
    return [*first, sources / "__pycache__", user / name]


def _make(folder: Path) -> None:
    """Make a folder; then those of other sources beside it are not needed any more."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.glob(f"{_PREFIX}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _digest(sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sources:
        data = file.read_bytes()
        digest.update(b"%s %d " % (file.name.encode(), len(data)) + data)
    return digest.hexdigest()[:24]


def _stats(sources: list[Path]) -> list[tuple[int, int, int]]:
    return [(stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in map(os.stat, sources)]


_FOLDER = Path(__file__).parent
_OTHERS = ("kernels.py", "node_layout.py", "machine_code.py", "verbatim.py")
_CODE = MachineCode([*_FOLDER.glob("*_kernels.py"), *filter(Path.is_file, (_FOLDER / name for name in _OTHERS))])


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called with arguments of new types."""
    return _CODE.kept(function)


def compiled_as(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`compiled`, for arguments of given types: once, whatever constants it is called with."""
    return lambda function: _CODE.kept(function, signature)


def compiled_within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled as part of those that call it: functions that call each other could not be kept."""
    return numba.njit(inline="always")(function)


def compile_now(function: Any, signature: str) -> None:
    """Compile a `compiled` function that calls itself, for these types alone.

    Called with others it would be compiled once more, as a function that calls the first one: that could not be kept.
    """
    function.compile(signature)
    function.disable_compile()


def is_to_be_made() -> bool:
    """Whether the first use of a grammar will take a minute, as no machine code for it is kept yet."""
    return not _CODE.holds("derivative_kernels")
