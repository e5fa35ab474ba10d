"""One engine in a process of its own, so that its processor time is its alone and it can be ended."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class WorkerError(Exception):
    """What went wrong in the process, in its words."""


class Worker:
    """The parent's end. make(*arguments) runs in the process and gives the object whose methods are asked for.

    Raises WorkerError when that fails, as every later call may. threads: of its products.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, threads: int = 1) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        os.environ["OMP_NUM_THREADS"] = str(threads)  # inherited; read when torch is first imported
        self._process = spawn.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()
        self._answer()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object, and wait."""
        self._pipe.send((method, arguments))
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            done, value = self._pipe.recv()
        except EOFError:
            self._process.join(10)
            raise WorkerError(f"its process ended with code {self._process.exitcode}") from None
        if not done:
            raise WorkerError(value)
        return value


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("ignore")
    try:
        made = make(*arguments)
    except Exception as error:
        pipe.send((False, _told(error)))
        return
    pipe.send((True, None))
    try:
        while True:
            method, given = pipe.recv()
            try:
                pipe.send((True, getattr(made, method)(*given)))
            except Exception as error:
                pipe.send((False, _told(error)))
    except EOFError:
        close = getattr(made, "close", None)
        if close is not None:
            close()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"
