"""Every refusal in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import concurrent.futures
import http

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..engine.types import RootformError

CLIENT_GONE = 499  # nginx's number for a client that left before the answer
CODES = {401: "invalid_api_key", 413: "request_too_large", 429: "queue_full"}
RETRY_AFTER_S = {429: "1", 503: "5"}


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, for a person (message) and for a program (the rest)."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """The whole body of an error response, and the data of an error event in a stream."""

    error: ErrorBody


def envelope(error: RootformError) -> ErrorEnvelope:
    """The body for an error."""
    code = CODES.get(error.status)
    if error.status == 404 and error.param == "model":
        code = "model_not_found"
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return ErrorEnvelope(ErrorBody(str(error), kind, error.param, code))


def error_response(error: RootformError, headers: dict[str, str] | None = None) -> Response:
    """The response for an error; 429 and 503 say when to come back."""
    headers = dict(headers or {})
    if error.status in RETRY_AFTER_S:
        headers["Retry-After"] = RETRY_AFTER_S[error.status]
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(envelope(error)), error.status, headers, "application/json")


def as_rootform_error(error: BaseException) -> RootformError:
    """What a job failed with, as an error with an HTTP status."""
    if isinstance(error, RootformError):
        return error
    if isinstance(error, concurrent.futures.CancelledError):
        return RootformError("the engine dropped this request because it is shutting down", status=503)
    return RootformError(f"the engine failed on this request: {error}", status=500)


async def on_rootform_error(request: Request, error: Exception) -> Response:
    """Exception handler: something asked for cannot be done."""
    return error_response(as_rootform_error(error))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Exception handler: no such path, or no such method on it."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        message = f"{where}: there is nothing at this path; try /v1/chat/completions, /v1/models or /health"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{where}: this path takes {allowed}"
    else:
        message = f"{where}: {error.detail}"
    return error_response(RootformError(message, status=error.status_code), dict(error.headers or {}))


async def on_client_gone(request: Request, error: Exception) -> Response:
    """Exception handler: the client left while its body was read. Nobody reads this; the metrics count it."""
    return Response(status_code=CLIENT_GONE)


async def on_crash(request: Request, error: Exception) -> Response:
    """Exception handler: our own fault. The traceback goes to the server's log, not to the client."""
    phrase = http.HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    return error_response(RootformError(f"{phrase} ({type(error).__name__}); see the server's log", status=500))
