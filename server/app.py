"""The HTTP front door: which path does what, and who may pass."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..engine.types import ModelInfo, RootformError
from .answering import Answering
from .body import decode_body, read_body
from .errors import error_response, on_client_gone, on_crash, on_http_error, on_rootform_error
from .openai_calls import chat_calls, completion_calls, no_such_model
from .openai_chat import ChatWriter
from .openai_completions import CompletionWriter
from .openai_types import ChatRequest, CompletionRequest, ModelCard, ModelExtras, ModelList
from .ports import Engine
from .service import HttpLimits, Service

OPEN_PATHS = frozenset({"/health", "/metrics"})  # for probes and scrapers, which hold no key


def create_app(
    engine: Engine,
    *,
    name: str | None = None,
    limits: HttpLimits | None = None,
    api_keys: Sequence[str] = (),
    origins: Sequence[str] = (),
) -> Starlette:
    """An ASGI app over an engine, which it does not own: whoever made the engine closes it.

    name: what the model is called in requests and answers; None: as the engine calls it.
    api_keys: when any are given, every path but /health and /metrics wants `Authorization: Bearer <one of them>`.
    origins: of web pages whose scripts may read answers (CORS); "*": of all.
    """
    service = Service(engine, limits or HttpLimits())
    routes = routes_of(service, msgspec.structs.replace(engine.info, name=name or engine.info.name))
    cross_origin = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Counted, service=service, paths=frozenset(route.path for route in routes)),
            *([cross_origin] if origins else []),  # before the keys: browsers ask for leave without one
            Middleware(KeyCheck, api_keys=tuple(api_keys)),
        ],
        exception_handlers={
            RootformError: on_rootform_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_client_gone,
            Exception: on_crash,
        },
    )
    app.router.redirect_slashes = False
    return app


def routes_of(service: Service, info: ModelInfo) -> list[Route]:
    """Which path does what."""
    created = int(time.time())

    async def chat_completions(request: Request) -> Answering:
        asked = decode_body(await read_body(request, service.limits.max_body_bytes), ChatRequest)
        return Answering(service, chat_calls(asked, info), ChatWriter(asked, info))

    async def completions(request: Request) -> Answering:
        asked = decode_body(await read_body(request, service.limits.max_body_bytes), CompletionRequest)
        calls = completion_calls(asked, info)
        return Answering(service, calls, CompletionWriter(asked, info, len(calls)))

    async def models(request: Request) -> Response:
        return _json(ModelList((model_card(info, created),)))

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != info.name:
            raise no_such_model(name, info)
        return _json(model_card(info, created))

    async def health(request: Request) -> Response:
        return health_of(service.engine)

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    return [
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", model, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


class Counted:
    """Middleware: every request is counted and timed."""

    def __init__(self, app: ASGIApp, service: Service, paths: frozenset[str]) -> None:
        self.app = app
        self.service = service
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.service.metrics.watch(self.app, self.paths, scope, receive, send)
        else:
            await self.app(scope, receive, send)


class KeyCheck:
    """Middleware: 401 without one of the keys, where there are keys."""

    def __init__(self, app: ASGIApp, api_keys: tuple[str, ...]) -> None:
        self.app = app
        self.keys = tuple(key.encode() for key in api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.keys or scope["path"] in OPEN_PATHS or self._knows(scope):
            await self.app(scope, receive, send)
        else:
            message = "no valid API key; send the header `Authorization: Bearer <key>`"
            await error_response(RootformError(message, status=401))(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        found = [hmac.compare_digest(key.strip(), known) for known in self.keys]  # all, so that time tells nothing
        return scheme.lower() == b"bearer" and any(found)


def model_card(info: ModelInfo, created: int) -> ModelCard:
    """The served model, as GET /v1/models shows it."""
    extras = ModelExtras(
        context_tokens=info.context_tokens,
        has_chat_template=info.has_chat_template,
        extract_prompt=info.extract_prompt,
    )
    return ModelCard(id=info.name, created=created, rootform=extras)


def health_of(engine: Engine) -> Response:
    """200 while the engine can take calls, 503 with the reason when it cannot."""
    trouble = engine.trouble
    if trouble is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "failing", "reason": trouble}, status_code=503)


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
