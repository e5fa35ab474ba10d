"""A Client over HTTP: the same Jobs as an in-process Engine gives, from a rootform server anywhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator
from types import TracebackType

import httpx

from ..engine.job import Job
from ..engine.types import Call, ModelInfo, RootformError
from .http_wire import DONE, Assembly, model_info, refusal, request_of

CONNECT_TIMEOUT_S = 10.0
TRY_AGAIN = frozenset({429, 503})  # busy, or not ready: nothing has been done with the request
FIRST_PAUSE_S = 0.5
JSON = {"Content-Type": "application/json"}


class HttpClient:
    """Completes calls on a server started by `rootform serve`. Implements `Client`.

    base_url: `http://host:port`, with or without `/v1`. model: None takes the one that is served.
    timeout_s: the longest silence of the server that is borne, waiting for a place in its queue included.
    concurrency: calls under way at once; more wait here, in order. retries: how often a call that the server was
    too busy to take (429, 503), or that did not reach it, is sent again, with growing pauses.
    Raises RootformError when that is no URL, and when there is no such server or model.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        concurrency: int = 256,
        retries: int = 4,
    ) -> None:
        self.base_url = _checked(base_url).rstrip("/").removesuffix("/v1")
        self._headers = _headers_with(api_key)
        self._timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=None)
        self._retries = retries
        self._info = self._ask_info(model)
        self._request_ids = itertools.count()
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers=self._headers,
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=concurrency),
        )
        self._free = asyncio.Semaphore(concurrency)
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rootform-http", daemon=True)
        self._thread.start()

    @property
    def info(self) -> ModelInfo:
        """The model, as the server described it when this client was made."""
        return self._info

    def submit(self, call: Call) -> Job:
        """Start a call. What only the server can tell comes as the Job's failure, a RootformError with its status."""
        path, body = request_of(call, self._info.name)
        with self._lock:
            if self._closed:
                raise RootformError("this HttpClient is closed", status=503)
            job = Job(lambda: self._cancel(task))
            task = asyncio.run_coroutine_threadsafe(self._run(job, path, body), self._loop)
        task.add_done_callback(lambda done: self._settle(job, done))
        return job

    def close(self) -> None:
        """Cancel what runs, close all connections. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask_info(self, model: str | None) -> ModelInfo:
        try:
            answer = httpx.get(f"{self.base_url}/v1/models", headers=self._headers, timeout=self._timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(error, self.base_url) from None
        if answer.status_code != 200:
            raise refusal(answer.status_code, answer.content)
        return model_info(answer.content, model, self.base_url)

    def _cancel(self, task: concurrent.futures.Future[None]) -> None:
        """In the loop's thread, so that a job is never ended from two threads at once."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and every job has ended
            self._loop.call_soon_threadsafe(task.cancel)

    def _settle(self, job: Job, done: concurrent.futures.Future[None]) -> None:
        """Every job ends: also one cancelled before its task began, and one whose task broke."""
        if done.cancelled():
            job.fail(concurrent.futures.CancelledError())
        elif error := done.exception():
            job.fail(error)

    async def _end(self) -> None:
        current = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not current]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._http.aclose()

    async def _run(self, job: Job, path: str, body: bytes) -> None:
        assembly = Assembly(next(self._request_ids))
        async with self._free:
            for attempt in itertools.count():
                try:
                    await self._stream(job, assembly, path, body)
                    break
                except _Busy as busy:
                    if attempt == self._retries:
                        raise busy.error from None
                    await asyncio.sleep(busy.pause_s or FIRST_PAUSE_S * 2**attempt)
        job.finish(assembly.completion())

    async def _stream(self, job: Job, assembly: Assembly, path: str, body: bytes) -> None:
        """One attempt. Raises _Busy when the server has not taken the call, RootformError when it failed."""
        try:
            async with self._http.stream("POST", path, content=body, headers=JSON) as answer:
                if answer.status_code != 200:
                    error = refusal(answer.status_code, await answer.aread())
                    raise _Busy(error, _pause(answer)) if error.status in TRY_AGAIN else error
                async for data in events(answer.aiter_bytes()):
                    delta = assembly.take(data)
                    if delta is not None:
                        job.push(delta)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Busy(_unreachable(error, self.base_url), None) from None
        except httpx.HTTPError as error:
            raise _unreachable(error, self.base_url) from None


class _Busy(Exception):
    """The server has not taken the call, which may be sent again after pause_s seconds."""

    def __init__(self, error: RootformError, pause_s: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause_s = pause_s


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event, read to the end, so that the connection can be used again.

    Split as bytes: JSON may hold U+2028 and U+0085 as they are, which text-based line splitting would break at.
    """
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        for event in whole:
            data = event.removeprefix(b"data: ")
            if data != DONE:
                yield data


def _checked(base_url: str) -> str:
    """The URL, if it may be one of a server."""
    if not base_url.lower().startswith(("http://", "https://")):
        raise RootformError(f"{base_url!r} is no address of a server; write it as in http://127.0.0.1:8000")
    return base_url


def _headers_with(api_key: str | None) -> httpx.Headers:
    """The key as a header; white space around it, which files of keys often end in, is no part of it."""
    key = (api_key or "").strip()
    if not key.isprintable():
        raise RootformError("the API key holds a line break or another control character; it is one line of text")
    return httpx.Headers({b"Authorization": f"Bearer {key}".encode()} if key else {})


def _pause(answer: httpx.Response) -> float | None:
    """What Retry-After asks for, in seconds."""
    try:
        return float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None


def _unreachable(error: Exception, base_url: str) -> RootformError:
    """A failure of the network as an error with a status: 504 for silence, 503 for all else."""
    if isinstance(error, httpx.TimeoutException):
        return RootformError(f"{base_url} did not answer in time ({type(error).__name__})", status=504)
    reason = str(error) or type(error).__name__
    return RootformError(f"{base_url} cannot be reached: {reason}; is the server running?", status=503)
