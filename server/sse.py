"""Server-sent events (HTML Living Standard, section 9.2) as ASGI messages."""

from __future__ import annotations

import msgspec
from starlette.types import Message

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies of nginx's family hold text back without it
]


def start() -> Message:
    """The status line and headers of a stream."""
    return {"type": "http.response.start", "status": 200, "headers": HEADERS}


def event(data: msgspec.Struct) -> Message:
    """One event; JSON has no bare newlines, so one data line holds it."""
    return _body(b"data: " + msgspec.json.encode(data) + b"\n\n", more=True)


def done() -> Message:
    """OpenAI's mark for a stream that came to its end."""
    return _body(b"data: [DONE]\n\n", more=True)


def end() -> Message:
    """The end of the response."""
    return _body(b"", more=False)


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
