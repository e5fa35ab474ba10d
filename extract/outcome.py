"""What came of a row: an answer or a failure, as the journal keeps it and as the output shows it."""

from __future__ import annotations

import json
from concurrent.futures import CancelledError
from typing import NamedTuple, NoReturn

import msgspec

from ..engine.types import Completion, Lenience, RootformError, Usage, VerbatimField
from .records import BadRow
from .rows import Row


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """A row that was extracted. id, result: JSON text on one line. number: the row's place in the input, from 0."""

    number: int
    id: str
    result: str
    usage: Usage
    closed_early: bool = False
    verbatim: tuple[VerbatimField, ...] = ()
    lenience: Lenience | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A row that was not. kind: a few words to count by; reason: in full; line: where the row starts in its file.

    text, lenience: of an answer that a lenient schema let through and that is not valid.
    """

    number: int
    id: str
    line: int
    kind: str
    reason: str
    text: str | None = None
    lenience: Lenience | None = None


Outcome = Answer | Failure

TOO_LONG, NOT_VALID = "too long", "answer is not valid"
_LENGTH_PARAMS = ("prompt", "messages", "max_tokens")  # what a refusal blames when a row does not fit


def bad_row(row: BadRow) -> Failure:
    """The failure of a row that could not be read."""
    return Failure(number=row.number, id=row.id, line=row.line, kind=row.kind, reason=row.reason)


def outcome_of(row: Row, given: Completion | BaseException) -> Outcome:
    """What a finished call made of its row."""
    if isinstance(given, BaseException):
        kind, reason = _why(given)
        return _failure(row, kind, reason)
    if wrong := _not_json(given.text):
        if given.finish_reason == "length":
            reason = f"the answer was cut off at {given.usage.completion_tokens} tokens; raise --max-tokens"
            return _failure(row, "cut off", reason)
        return _failure(row, "answer is not JSON", f"the answer is not JSON ({wrong}): {given.text[:200]!r}")
    lenience = given.lenience
    if lenience is not None and not lenience.valid:
        failure = _failure(row, NOT_VALID, f"the answer is not valid: {lenience.reason}")
        return msgspec.structs.replace(failure, text=given.text, lenience=lenience)
    # A line break in JSON text can only stand between values, where a space means the same.
    line = given.text.strip().replace("\n", " ").replace("\r", " ")
    return Answer(
        number=row.number,
        id=row.id,
        result=line,
        usage=given.usage,
        closed_early=given.closed_early,
        verbatim=given.verbatim,
        lenience=lenience,
    )


class Extras(NamedTuple):
    """What output rows hold beside id and result. meta: what the row cost. offsets: where verbatim values stand."""

    meta: bool = False
    offsets: bool = False


def output_line(outcome: Outcome, extras: Extras) -> bytes:
    """The row of the output file, with its newline."""
    row: dict[str, object] = {"id": msgspec.Raw(outcome.id.encode())}
    if isinstance(outcome, Failure):
        row["error"] = {"kind": outcome.kind, "reason": outcome.reason, "line": outcome.line}
        if outcome.text is not None:
            row["error"] |= {"text": outcome.text}
    else:
        row["result"] = msgspec.Raw(outcome.result.encode())
        if extras.offsets:
            row["offsets"] = {each.pointer: (each.start, each.end) for each in outcome.verbatim}
        if outcome.closed_early or extras.meta:
            row["closed_early"] = outcome.closed_early
        if extras.meta:
            row["usage"] = outcome.usage
    if outcome.lenience is not None:
        row["lenience"] = outcome.lenience
    return msgspec.json.encode(row) + b"\n"


def _failure(row: Row, kind: str, reason: str) -> Failure:
    return Failure(number=row.number, id=row.id, line=row.line, kind=kind, reason=f"line {row.line}: {reason}")


def _why(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RootformError):
        if error.status == 413 or (error.status == 400 and error.param in _LENGTH_PARAMS):
            return TOO_LONG, str(error)
        return "server busy" if error.status == 429 else "refused" if error.status < 500 else "failed", str(error)
    if isinstance(error, CancelledError):
        return "cancelled", "the call was cancelled before its answer was complete"
    return "failed", f"{type(error).__name__}: {error}"


def _not_json(text: str) -> str:
    """Why the text is not JSON, "" when it is."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        return str(error)
    except RecursionError:
        return "nested too deeply to check"
    return ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
