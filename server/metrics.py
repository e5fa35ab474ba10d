"""Prometheus metrics: what HTTP saw, and what the engine counted. One registry per app, so that apps do not mix."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import CLIENT_GONE
from .ports import Engine

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
COUNTERS = {
    "forward_passes": "Forward passes of the model.",
    "sequence_passes": "Forward passes, counted once for each call with a row in the pass; divided by output tokens: "
    "passes per output token.",
    "prefill_tokens": "Prompt tokens computed.",
    "cached_tokens": "Prompt tokens found in the prefix tree instead of being computed.",
    "host_tier_tokens": "Of these, tokens read back from host memory.",
    "disk_tier_tokens": "Of these, tokens read back from files.",
    "disk_tier_written_bytes": "Bytes of cached prefixes written to files.",
    "output_tokens": "Tokens generated.",
    "drafted_tokens": "Tokens guessed ahead of the model and put through it.",
    "accepted_tokens": "Guessed tokens that were what the model would have said.",
    "put_back": "Times a running call lost its place for lack of memory; it goes on later.",
    "gave_way": "Times an offline call lost its place to an online one; it goes on later.",
    "overlapped_passes": "On a device: passes queued before the one before them was settled, or with none before them.",
    "lockstep_passes": "On a device: passes that needed the host before the next could be queued.",
    "void_rows": "Rows of overlapped passes that were computed for a call which had gone another way.",
    "grammar_misses": "Times the device's grammar tables lacked an answer, which the host served.",
    "device_waits": "Times the host waited for a pass on the device.",
    "device_stalls": "Of these, times with nothing queued behind it, so that the device stood idle.",
    "grammar_recompiled": "Constraints in use before this start, compiled before calls came with them (--cache-dir).",
}
GAUGES = {
    "prompt_tokens": "Prompt tokens the last pass had room for, beside what was decoding.",
    "running": "Calls with a row in the running batch.",
    "waiting": "Calls waiting for one.",
    "compiling": "Calls whose constraint is being compiled.",
    "host_tier_bytes": "Memory of cached prefixes in host memory beside the pages.",
    "disk_tier_bytes": "Size of this model's cached prefixes in files.",
    "grammar_rows": "Rows in the tables of allowed tokens.",
    "grammar_bytes": "Memory of compiled constraints, partly estimated.",
    "grammar_generations": "Sets of compiled constraints: one, and others that calls still use.",
}
PAGE_STATES = ("free", "cached", "locked", "total")
OUTCOMES = ("finished", "cancelled", "failed")


class EngineCollector(Collector):
    """Reads the engine's own counts when Prometheus asks, so that nothing is counted twice."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> Iterator[Metric]:
        """All families, from one reading."""
        stats = self.engine.stats()
        for field, help_text in COUNTERS.items():
            yield CounterMetricFamily(f"rootform_{field}", help_text, value=getattr(stats, field))
        for field, help_text in GAUGES.items():
            yield GaugeMetricFamily(f"rootform_{field}", help_text, value=getattr(stats, field))
        pages = GaugeMetricFamily(
            "rootform_pages",
            "Pages of KV memory: free, cached by the tree, locked of those, and all.",
            labels=["state"],
        )
        for state in PAGE_STATES:
            pages.add_metric([state], getattr(stats, f"pages_{state}"))
        yield pages
        calls = CounterMetricFamily("rootform_calls", "Calls that ended, by how.", labels=["outcome"])
        for outcome in OUTCOMES:
            calls.add_metric([outcome], getattr(stats, f"requests_{outcome}"))
        yield calls
        waits = HistogramMetricFamily(
            "rootform_queue_wait_seconds", "Time until a call's prompt began to be computed.", labels=["priority"]
        )
        for priority, found in stats.waits.items():
            bounds = [*map(str, found.bounds), "+Inf"]
            waits.add_metric([priority], list(zip(bounds, accumulate(found.counts), strict=True)), found.seconds)
        yield waits


class Metrics:
    """The registry of one app and the meters its endpoints move."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(EngineCollector(engine))
        self._requests = Counter(
            "rootform_http_requests",
            f"HTTP requests answered; status {CLIENT_GONE}: the client left first.",
            ["path", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "rootform_http_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "rootform_http_requests_in_flight", "HTTP requests being answered.", registry=self.registry
        )
        self._first_text = Histogram(
            "rootform_time_to_first_token_seconds",
            "Time from accepting a streaming request to its first token.",
            buckets=SECONDS,
            registry=self.registry,
        )

    def first_text(self, seconds: float) -> None:
        """A stream has its first token."""
        self._first_text.observe(seconds)

    def text(self) -> bytes:
        """What GET /metrics answers, of type `content_type`."""
        return generate_latest(self.registry)

    content_type = CONTENT_TYPE_LATEST

    async def watch(self, app: ASGIApp, known: frozenset[str], scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app for one request and count it. known: paths that get a label of their own."""
        path = scope["path"] if scope["path"] in known else "other"
        status = CLIENT_GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.monotonic()
        with self._in_flight.track_inprogress():
            try:
                await app(scope, receive, noting)
            except Exception:
                status = 500
                raise
            finally:
                self._requests.labels(path, str(status)).inc()
                self._seconds.labels(path).observe(time.monotonic() - started)
