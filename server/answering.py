"""Calls in, an HTTP answer out: whole or as server-sent events. Knows no dialect; a `Writer` brings the words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..engine.job import Job
from ..engine.types import Call, Completion, Delta, RootformError
from . import sse
from .errors import as_rootform_error, envelope, error_response
from .jobs import Happening, cancel_all, completions, merged, submit_all, unless_disconnected
from .service import Service


class Writer(Protocol):
    """How one dialect writes the answer to one request. Indices count the request's calls."""

    stream: bool
    params: dict[str, str]  # what the engine's fields are called in this dialect, where the names differ

    def whole(self, completions: Sequence[Completion]) -> msgspec.Struct:
        """The body of an answer that does not stream."""
        ...

    def opening(self) -> Sequence[msgspec.Struct]:
        """Chunks before any text."""
        ...

    def piece(self, index: int, delta: Delta) -> msgspec.Struct | None:
        """The chunk for new text of one call; None: nothing to tell."""
        ...

    def closing(self, index: int, completion: Completion) -> msgspec.Struct:
        """The chunk for the end of one call."""
        ...

    def ending(self, completions: Sequence[Completion]) -> Sequence[msgspec.Struct]:
        """Chunks after all calls have ended."""
        ...


STOPPED = RootformError("the server stopped before this answer was complete; ask again", status=503)


class Answering:
    """An ASGI response that does the work it answers with.

    A failure before the first byte becomes an HTTP status, also when streaming: the status line waits for the
    first token. A client that goes away, at any moment, cancels its calls. A server that stops and has waited for long
    enough cancels the answer, and the client is told so.
    """

    def __init__(self, service: Service, calls: Sequence[Call], writer: Writer) -> None:
        self.service = service
        self.calls = calls
        self.writer = writer
        self.accepted = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await unless_disconnected(receive, self._answer(scope, receive, noting))
        except asyncio.CancelledError:
            if not started:
                await error_response(STOPPED)(scope, receive, send)
            elif self.writer.stream:
                await send(sse.event(envelope(STOPPED)))
                await send(sse.end())

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.service.admitted(len(self.calls)):
            jobs: list[Job] = []
            try:
                jobs = await submit_all(self.service.engine.submit, self.calls)
                if self.writer.stream:
                    await self._stream(jobs, send)
                else:
                    body = msgspec.json.encode(self.writer.whole(await completions(jobs)))
                    await Response(body, media_type="application/json")(scope, receive, send)
            except RootformError as error:
                raise in_words_of(self.writer, error) from error
            finally:
                cancel_all(jobs)

    async def _stream(self, jobs: Sequence[Job], send: Send) -> None:
        async with aclosing(merged(jobs)) as happenings:
            first = await anext(happenings)
            if isinstance(first[1], Exception):
                raise as_rootform_error(first[1])
            self.service.metrics.first_text(time.monotonic() - self.accepted)
            await send(sse.start())
            async with aclosing(replies(self.writer, first, happenings)) as told:
                async for reply in told:
                    await send(reply)
            await send(sse.end())


def in_words_of(writer: Writer, error: RootformError) -> RootformError:
    """The same error with the field at fault named as the client named it."""
    param = writer.params.get(error.param, error.param) if error.param else None
    return RootformError(str(error), status=error.status, param=param)


async def replies(
    writer: Writer, first: tuple[int, Happening], rest: AsyncIterator[tuple[int, Happening]]
) -> AsyncGenerator[Message, None]:
    """The events of a stream in order. When a call fails, an error event is the last, and no [DONE] follows."""
    for chunk in writer.opening():
        yield sse.event(chunk)
    ended: dict[int, Completion] = {}
    async for index, happening in _chain(first, rest):
        if isinstance(happening, Exception):
            yield sse.event(envelope(in_words_of(writer, as_rootform_error(happening))))
            return
        if isinstance(happening, Delta):
            piece = writer.piece(index, happening)
            if piece is not None:
                yield sse.event(piece)
        else:
            ended[index] = happening
            yield sse.event(writer.closing(index, happening))
    for chunk in writer.ending([ended[index] for index in sorted(ended)]):
        yield sse.event(chunk)
    yield sse.done()


async def _chain(
    first: tuple[int, Happening], rest: AsyncIterator[tuple[int, Happening]]
) -> AsyncIterator[tuple[int, Happening]]:
    yield first
    async for one in rest:
        yield one
