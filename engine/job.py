"""A submitted call, seen by its caller: wait for it, stream it, or cancel it, from threads or asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future

from .types import Completion, Delta


class Wakes:
    """Consumers on event loops that have something to read, to be woken by one call into each loop.

    Such a call is a system call, during which another thread may take the interpreter: one for each of hundreds of
    streams takes longer than the rest of a step.
    """

    def __init__(self) -> None:
        self._events: dict[asyncio.AbstractEventLoop, list[asyncio.Event]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
        """The one who waits for this event."""
        self._events.setdefault(loop, []).append(event)

    def send(self) -> None:
        """Wake them all."""
        for loop, events in self._events.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(_set_all, events)
        self._events.clear()


def _set_all(events: list[asyncio.Event]) -> None:
    for event in events:
        event.set()


class Job:
    """Handle of one Call. The producer calls push() and finish() or fail(); the consumer everything else.

    `future` holds the Completion, or the exception: RootformError for what the caller did, CancelledError when
    cancelled. Deltas are kept in order until read; they may be read once.
    """

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        self.future: Future[Completion] = Future()
        self.future.set_running_or_notify_cancel()  # so that only the producer ends it, never a cancelled waiter
        self._on_cancel = on_cancel
        self._deltas: queue.SimpleQueue[Delta | None] = queue.SimpleQueue()
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    # -- producer ---------------------------------------------------------------------------------------------

    def push(self, delta: Delta, wakes: Wakes | None = None) -> None:
        """Add new text, from any thread. wakes: the consumer is woken with others, when the caller says so."""
        self._deltas.put(delta)
        if self._listener is not None:
            self._wake(wakes)

    def finish(self, completion: Completion) -> None:
        """The final event: all went well."""
        if not self.future.done():
            self.future.set_result(completion)
        self._end()

    def fail(self, error: BaseException) -> None:
        """The final event: it failed, or (with a CancelledError) was cancelled."""
        if not self.future.done():
            self.future.set_exception(error)
        self._end()

    def _end(self) -> None:
        self._deltas.put(None)
        self._wake()

    def _wake(self, wakes: Wakes | None = None) -> None:
        listener = self._listener
        if listener is not None:
            among = Wakes() if wakes is None else wakes
            among.add(*listener)
            if wakes is None:
                among.send()

    # -- consumer ---------------------------------------------------------------------------------------------

    def result(self, timeout_s: float | None = None) -> Completion:
        """Wait for the completion. Raises what the call failed with, or TimeoutError."""
        return self.future.result(timeout_s)

    async def wait(self) -> Completion:
        """result() for asyncio. Cancelling the awaiting task cancels the call."""
        try:
            return await asyncio.wrap_future(self.future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Ask that the call be dropped; it still ends with one final event. Safe to call at any time."""
        self._on_cancel()

    def __iter__(self) -> Iterator[Delta]:
        """Deltas as they come, then the failure if there was one."""
        while (delta := self._deltas.get()) is not None:
            yield delta
        self.future.result()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Deltas as they come, then the failure if there was one. Leaving the loop early does not cancel."""
        arrived = asyncio.Event()
        self._listener = asyncio.get_running_loop(), arrived
        while True:
            arrived.clear()
            while not self._deltas.empty():
                delta = self._deltas.get()
                if delta is None:
                    self.future.result()
                    return
                yield delta
            await arrived.wait()
