"""From the bytes of a request to a frozen struct, or a 4xx that says where the body is wrong."""

from __future__ import annotations

import codecs
import difflib
import json
import re
from typing import TypeVar

import msgspec
from starlette.requests import Request

from ..engine.types import RootformError

T = TypeVar("T", bound=msgspec.Struct)
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>.*?)`(?: - at `(?P<path>.*)`)?$", re.DOTALL)
A_SCHEMA = "send `response_format`: {type: json_schema, json_schema: {name, schema}}"
ELSEWHERE = {
    ("$", "guided_json"): A_SCHEMA,
    ("$", "json_schema"): A_SCHEMA,
    ("$", "structured_outputs"): f"for `json` {A_SCHEMA}; the others are fields here: `regex`, `choice`, `grammar`",
    ("$", "guided_regex"): "send `regex`",
    ("$", "guided_choice"): "send `choice`",
    ("$", "guided_grammar"): "send `grammar`",
    ("$", "ebnf"): "send `grammar`",
    ("$", "max_new_tokens"): "send `max_tokens`",
    ("$", "extra_body"): "its members stand in the body itself, beside the others",
    ("$", "whitespace_pattern"): "send `spacing`",
    ("$.response_format", "schema"): A_SCHEMA,
    ("$.response_format", "regex"): "send `regex` beside the messages",
}
"""What fields of other servers are called here, by their JSON path and name."""
AT_PATH = re.compile(r"^(?P<what>.*?) - at `(?P<path>.*)`$", re.DOTALL)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body; 413 as soon as it is known to be longer than max_bytes, 415 when it is packed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise RootformError(f"Content-Encoding: a body in {encoding} is not read; send it plain", status=415)
    too_long = RootformError(f"the body is over the server's limit of {max_bytes} bytes", status=413)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_long
    return bytes(body)


def decode_body(body: bytes, kind: type[T]) -> T:
    """The body as a `kind`. Raises RootformError 400 with the place of the fault: position or JSON path."""
    try:
        body.decode()  # msgspec leaves the insides of raw fields unchecked
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error), kind) from None
    except RecursionError:
        raise RootformError("the body is JSON nested too deeply to be read") from None
    except UnicodeDecodeError as error:
        raise RootformError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except msgspec.DecodeError as error:
        raise RootformError(f"the body is not JSON: {_position(body, str(error))}") from None


def _position(body: bytes, otherwise: str) -> str:
    """What is wrong, with line and column. The standard library's parser says it best."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    except RecursionError:
        return "nested too deeply"
    if body.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark; leave that out"
    if otherwise == "Input data was truncated":  # what msgspec says of "\ud800" with no second half
        return "a string holds half of a surrogate pair"
    return otherwise


def _wrong_value(message: str, kind: type[msgspec.Struct]) -> RootformError:
    """msgspec's message, turned so that the field at fault comes first and is named in `param`."""
    if unknown := UNKNOWN_FIELD.match(message):
        return _unknown_field(unknown["field"], unknown["path"] or "$", kind)
    if placed := AT_PATH.match(message):
        return RootformError(f"{placed['path']}: {_lower(placed['what'])}", param=_param(placed["path"]))
    if missing := re.match(r"Object missing required field `(.*)`$", message):
        return RootformError(f"$: the field `{missing[1]}` is missing", param=missing[1])
    return RootformError(f"the body: {_lower(message)}")


def _unknown_field(field: str, path: str, kind: type[msgspec.Struct]) -> RootformError:
    close = difflib.get_close_matches(field, kind.__struct_fields__, n=1, cutoff=0.75) if path == "$" else []
    elsewhere = ELSEWHERE.get((path, field))
    hint = elsewhere or (f"did you mean `{close[0]}`?" if close else "remove it")
    where = f"{_param(path)}.{field}" if path != "$" else field
    return RootformError(f"{path}: unknown field `{field}`; {hint}", param=where)


def _param(path: str) -> str | None:
    """`$.messages[0].role` -> `messages[0].role`, as OpenAI writes it; `$` -> None."""
    return path.removeprefix("$").removeprefix(".") or None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
