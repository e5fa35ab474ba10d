"""Schema files: read, checked for JSON, and refused when the grammar room cannot enforce them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from ..engine.types import RootformError
from ..grammar.constraints import JsonSchema
from ..grammar.report import inspect_constraint
from ..grammar.schema_notes import Refusal
from .files import read_text


def read_schema(path: Path) -> str:
    """The text of a schema file. Raises RootformError when it is not there, not UTF-8, or not JSON."""
    text = read_text(path, "schema")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RootformError(f"schema {path}, {where}: this is not JSON: {error.msg}; mend the file") from None
    except RecursionError:
        raise RootformError(f"schema {path}: nested too deeply to be read") from None
    return text


def enforceable_schema(path: Path, constraint_of: Callable[[str], JsonSchema]) -> str:
    """The text of a schema file that can be enforced to the letter; otherwise RootformError with every obstacle.

    constraint_of: the constraint of the text. A lenient one has to compile only with what cannot be enforced left out.
    """
    text = read_schema(path)
    report = inspect_constraint(constraint_of(text))
    if report.refused:
        raise RootformError(f"schema {path} cannot be enforced exactly:\n{refusals(report.refused)}")
    return text


def refusals(refused: Iterable[Refusal]) -> str:
    """One line for each keyword that is refused or left out: where, which, why, and what to write instead."""
    lines = []
    for refusal in refused:
        place = f"{refusal.where}, {refusal.keyword!r}" if refusal.keyword else refusal.where
        lines.append(f"  {place}: {refusal.reason}" + (f"; {refusal.rewrite}" if refusal.rewrite else ""))
    return "\n".join(lines)
