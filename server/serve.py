"""`serve`: an app on a port until it is told to stop, then a graceful end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..engine.types import RootformError
from .app import create_app
from .ports import Engine
from .service import HttpLimits

BACKLOG = 2048
KEEP_ALIVE_S = 30  # longer than clients keep an idle connection (httpx: 5), so that none writes to a closed one


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes any free one. Raises RootformError when the address cannot be had.

    Separate from `serve`, so that a busy port is known before a model is loaded.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise RootformError(f"host {host!r} is not an address of this machine: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "is already in use; stop what listens there, or choose another port (0 takes any free one)"
        else:
            reason = f"cannot be had: {os.strerror(error.errno) if error.errno else error}"
        raise RootformError(f"port {port} on {host} {reason}") from None


def url_of(listener: socket.socket) -> str:
    """Where to reach a listening socket from this machine."""
    bound, port = str(listener.getsockname()[0]), listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def greeting(url: str, model: str, with_key: bool) -> str:
    """One line: where it is, and a command that shows it works."""
    key = " -H 'Authorization: Bearer <key>'" if with_key else ""
    body = '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32}'
    return f"serving {model} at {url}/v1 - try: curl {url}/v1/chat/completions{key} -d '{body}'"


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and returns from `run` after a signal instead of dying of it."""

    def __init__(self, app: ASGIApp, *, drain_s: int, when_ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_level="warning",
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=drain_s,
            )
        )
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell."""
        await super().startup(sockets)
        self._when_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: finish what runs, take nothing new. Second SIGINT: leave at once."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def serve(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    name: str | None = None,
    api_keys: Sequence[str] = (),
    origins: Sequence[str] = (),
    limits: HttpLimits | None = None,
    drain_s: int = 30,
    listener: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is running, for at most drain_s seconds, and return.

    The engine stays open: whoever made it closes it. listener: from `bind`, instead of host and port. The others are
    those of `create_app`. Raises RootformError when the port cannot be had.
    """
    listener = listener or bind(host, port)
    line = greeting(url_of(listener), name or engine.info.name, bool(api_keys))
    app = create_app(engine, name=name, limits=limits, api_keys=api_keys, origins=origins)
    with listener:
        Server(app, drain_s=drain_s, when_ready=lambda: print(line, file=sys.stderr, flush=True)).run([listener])
