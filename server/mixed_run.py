"""A mixed load against a running server, judged answer by answer: `python -m rootform.server.mixed_run URL`.

Free text, regexes, choices, three schemas, clients that leave, and bad requests, many at once. It holds when every
good answer keeps to its constraint, every bad request gets its 4xx with the fault named, and afterwards the server
is healthy, nothing runs, and every page of KV memory is free or cached again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

import httpx
import msgspec
from msgspec import Meta
from prometheus_client.parser import text_string_to_metric_families

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
SETTLE_S = 30.0  # how long the engine may take to put away what was cancelled


class Person(msgspec.Struct, forbid_unknown_fields=True):
    """Bounded string and number."""

    name: Annotated[str, Meta(min_length=1, max_length=12)]
    age: Annotated[int, Meta(ge=0, le=130)]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of an invoice."""

    item: Annotated[str, Meta(max_length=8)]
    count: Annotated[int, Meta(ge=1, le=99)]


class Invoice(msgspec.Struct, forbid_unknown_fields=True):
    """Pattern, nested objects in a bounded array."""

    number: Annotated[str, Meta(pattern="^[A-Z]{2}-[0-9]{4}$")]
    lines: Annotated[list[Line], Meta(max_length=2)]
    paid: bool


class Ticket(msgspec.Struct, forbid_unknown_fields=True):
    """Enums and null."""

    priority: Literal["low", "high"]
    tags: Annotated[list[Literal["bug", "ask"]], Meta(max_length=2)]
    note: Annotated[str, Meta(max_length=10)] | None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request and how its answer is judged. judge: text -> what is wrong with it, "" when nothing is."""

    kind: str
    path: str
    body: dict[str, Any] | bytes
    judge: Callable[[str], str] = lambda text: ""
    refused: tuple[int, str] | None = None  # the status a bad request must get, and what its message must name
    leave: bool = False  # hang up soon after asking
    method: str = "POST"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. right: by kind. wrong: a line for each answer, or state afterwards, that is not right."""

    right: dict[str, int]
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.right.items()))
        return "\n".join((f"right: {sum(self.right.values())} ({counts})", f"wrong: {len(self.wrong)}", *self.wrong))


def keeps_to(kind: type[msgspec.Struct]) -> Callable[[str], str]:
    """A judge for JSON of a type."""

    def judge(text: str) -> str:
        try:
            msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            return str(error)
        return ""

    return judge


def matches(pattern: str) -> Callable[[str], str]:
    """A judge for a regex."""
    return lambda text: "" if re.fullmatch(pattern, text) else f"does not match {pattern}"


def good_asks(rng: random.Random) -> list[Ask]:
    """One of each kind of good request, about a document of its own."""
    about = f"Extract what is asked.\n\nInvoice {rng.randrange(10**6)}: {rng.choice(['two nuts', 'a bolt'])}."
    chat: dict[str, Any] = {
        "messages": [{"role": "user", "content": about}],
        "max_tokens": 160,
        "seed": rng.randrange(2**30),
        "stream": rng.random() < 0.5,
    }
    text = {"prompt": about, "max_tokens": 24, "temperature": rng.choice([0.0, 1.0]), "stream": rng.random() < 0.5}
    pattern, options = r"[A-Z][a-z]{2,5}-\d{1,3}", ["yes", "no", "not stated"]
    asks = [
        Ask(kind="free text", path=TEXT, body=text),
        Ask(kind="regex", path=TEXT, body={**text, "regex": pattern}, judge=matches(pattern)),
        Ask(
            kind="choice",
            path=CHAT,
            body={**chat, "choice": options},
            judge=lambda said: "" if said in options else "is none of the options",
        ),
    ]
    for kind in (Person, Invoice, Ticket):
        form = {"name": kind.__name__, "schema": msgspec.json.schema(kind), "strict": True}
        body = {**chat, "response_format": {"type": "json_schema", "json_schema": form}}
        asks.append(Ask(kind=kind.__name__, path=CHAT, body=body, judge=keeps_to(kind)))
    return [*asks, Ask(kind="left", path=TEXT, body={**text, "max_tokens": 200, "n": 2}, leave=True)]


def bad_asks(context_tokens: int) -> list[Ask]:
    """Requests that must be refused, each with its status and a word its message must hold."""
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 8}
    schema = {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "strin"}}}}
    tool = {"type": "function", "function": {"name": "f"}}
    bad: list[tuple[str, dict[str, Any] | bytes, int, str]] = [
        (CHAT, {**chat, "top_kk": 1}, 400, "top_kk"),
        (CHAT, {**chat, "model": "no-such-model"}, 404, "no-such-model"),
        (CHAT, {**chat, "tools": [tool]}, 400, "tools"),
        (CHAT, {**chat, "n": 0}, 400, "$.n"),
        (CHAT, {**chat, "regex": "(unclosed"}, 400, "regex"),
        (CHAT, {**chat, "regex": "(unclosed", "stream": True}, 400, "regex"),
        (CHAT, {**chat, "regex": "a", "choice": ["a"]}, 400, "one constraint"),
        (CHAT, {**chat, "response_format": {"type": "json_schema", "json_schema": schema}}, 400, "strin"),
        (CHAT, {"messages": [{"role": "pirate", "content": "x"}]}, 400, "pirate"),
        (TEXT, {"prompt": [1] * (context_tokens + 1), "max_tokens": 1}, 400, str(context_tokens)),
        (TEXT, b'{"prompt": ', 400, "line 1"),
    ]
    asks = [Ask(kind="bad request", path=path, body=body, refused=(status, word)) for path, body, status, word in bad]
    asks.append(Ask(kind="bad request", path=CHAT, body={}, refused=(405, "POST"), method="GET"))
    return [*asks, Ask(kind="bad request", path="/v1/nothing", body={}, refused=(404, "/v1/nothing"))]


def plan(requests: int, seed: int, context_tokens: int) -> list[Ask]:
    """The requests of a run, good ones and one bad one in eight, shuffled. The same seed gives the same run."""
    rng = random.Random(seed)
    bad = bad_asks(context_tokens)
    asks: list[Ask] = []
    while len(asks) < requests:
        asks += [*good_asks(rng), bad[len(asks) // 8 % len(bad)]]
    rng.shuffle(asks)
    return asks[:requests]


async def mixed_run(
    url: str, *, requests: int = 200, seed: int = 0, concurrency: int = 16, api_key: str | None = None
) -> Report:
    """Put the load on the server at `url` and judge it."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    limits = httpx.Limits(max_connections=concurrency + 1)
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=300, limits=limits) as http:
        context = (await http.get("/v1/models")).json()["data"][0]["rootform"]["context_tokens"]
        places = asyncio.Semaphore(concurrency)
        rng = random.Random(seed)

        async def judged(ask: Ask) -> str:
            async with places:
                return await leave(http, ask, rng.uniform(0, 0.1)) if ask.leave else await verdict(http, ask)

        asks = plan(requests, seed, context)
        verdicts = await asyncio.gather(*(judged(ask) for ask in asks))
        after = await aftermath(http)
    right = Counter(ask.kind for ask, fault in zip(asks, verdicts, strict=True) if not fault)
    wrong = [f"{ask.kind}: {fault}" for ask, fault in zip(asks, verdicts, strict=True) if fault]
    return Report(right=dict(right), wrong=(*wrong, *after))


async def verdict(http: httpx.AsyncClient, ask: Ask) -> str:
    """What is wrong with the answer to a request; "" when nothing is."""
    body = ask.body if isinstance(ask.body, bytes) else msgspec.json.encode(ask.body)
    try:
        answer = await http.request(ask.method, ask.path, content=body)
    except httpx.HTTPError as error:
        return f"{ask.method} {ask.path}: {type(error).__name__}: {error}"
    if ask.refused is not None:
        return judge_refusal(answer, *ask.refused)
    if answer.status_code != 200:
        return f"status {answer.status_code}: {answer.text[:300]}"
    try:
        text = text_of(answer)
    except (msgspec.DecodeError, LookupError) as error:
        return f"cannot be read ({type(error).__name__}: {error}): {answer.text[-300:]}"
    fault = ask.judge(text)
    return f"{fault}: {text!r}" if fault else ""


def judge_refusal(answer: httpx.Response, status: int, word: str) -> str:
    """A bad request must get this status, and an OpenAI error whose message holds this word."""
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code} without an error message: {answer.text[:300]}"
    if answer.status_code == status and word in message:
        return ""
    return f"expected status {status} naming {word!r}, got {answer.status_code}: {message}"


def text_of(answer: httpx.Response) -> str:
    """The text of the first choice, whether it was streamed or not. Raises LookupError when a stream has no end."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return _said(msgspec.json.decode(answer.content)["choices"][0])
    events = [event.removeprefix(b"data: ") for event in answer.content.split(b"\n\n")]
    chunks = [msgspec.json.decode(event) for event in events[: events.index(b"[DONE]")]] if b"[DONE]" in events else []
    if not chunks:
        raise LookupError("the stream has no [DONE]")
    return "".join(_said(chunk["choices"][0]) for chunk in chunks)


def _said(choice: dict[str, Any]) -> str:
    spoken = choice.get("message") or choice.get("delta") or choice
    return spoken.get("content") or spoken.get("text") or ""


async def leave(http: httpx.AsyncClient, ask: Ask, after_s: float) -> str:
    """Ask, and hang up: from a stream after its first bytes, else after a while. What stays shows in the aftermath."""
    body = msgspec.json.encode(ask.body)
    if b'"stream":true' in body:
        async with http.stream(ask.method, ask.path, content=body) as answer:
            await anext(answer.aiter_bytes())
            return "" if answer.status_code == 200 else f"status {answer.status_code}"
    asking = asyncio.create_task(http.request(ask.method, ask.path, content=body))
    await asyncio.wait((asking,), timeout=after_s)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return ""


async def aftermath(http: httpx.AsyncClient) -> list[str]:
    """What is wrong with the server when the load is over, once it has had time to settle."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    while True:
        faults = await _faults(http)
        if not faults or asyncio.get_running_loop().time() > deadline:
            return faults
        await asyncio.sleep(0.1)


async def _faults(http: httpx.AsyncClient) -> list[str]:
    health = await http.get("/health")
    faults = [] if health.status_code == 200 else [f"health: {health.status_code} {health.text}"]
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    now = {(one.name, one.labels.get("state", "")): one.value for family in families for one in family.samples}
    busy = {name: now[name, ""] for name in ("rootform_running", "rootform_waiting", "rootform_compiling")}
    pages = {state: now["rootform_pages", state] for state in ("free", "cached", "locked", "total")}
    faults += [f"{name} is {value:g}" for name, value in busy.items() if value]
    if pages["locked"] or pages["free"] + pages["cached"] != pages["total"]:
        faults.append("pages are not all back: " + ", ".join(f"{n:g} {state}" for state, n in pages.items()))
    return faults


def main() -> int:
    """The command line. Exit status 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m rootform.server.mixed_run", description=__doc__)
    parser.add_argument("url", help="http://host:port of a running server")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--api-key")
    asked = parser.parse_args()
    run = mixed_run(
        asked.url,
        requests=asked.requests,
        seed=asked.seed,
        concurrency=asked.concurrency,
        api_key=asked.api_key,
    )
    report = asyncio.run(run)
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
