"""What becomes of each keyword of a schema: enforced, refused, or an annotation. For people, before they serve it."""

from __future__ import annotations

import msgspec

from .constraints import JsonSchema, Spacing
from .errors import GrammarError
from .expr import POOL
from .pools import using
from .schema_compile import compile_read, read_all, read_schema
from .schema_notes import Notes, Refusal
from .work import Limit, within


class Enforced(msgspec.Struct, frozen=True):
    """A keyword that every output obeys; where: JSON pointer to the schema it stands in."""

    where: str
    keyword: str


class Ignored(msgspec.Struct, frozen=True):
    """A keyword that asserts nothing, and why."""

    where: str
    keyword: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """All that can be said of a schema beforehand. It can be served when nothing is refused.

    dropped: what a lenient constraint leaves out because it cannot be enforced; refused is then only what keeps it from
    being compiled at all. shortest: one of the shortest texts it accepts; None when something is refused.
    warnings: what is probably not as meant, such as a keyword with a slip of the pen.
    Only schemas that take part are looked at: entries of $defs that nothing refers to are not.
    """

    enforced: tuple[Enforced, ...]
    refused: tuple[Refusal, ...]
    ignored: tuple[Ignored, ...]
    warnings: tuple[str, ...]
    shortest: str | None
    dropped: tuple[Refusal, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the schema compiles."""
        return not self.refused


def inspect_schema(schema_text: str, spacing: Spacing = "compact") -> Report:
    """Look at a whole schema. Never raises for what is wrong with the schema: that is in the report."""
    return inspect_constraint(JsonSchema(schema_text, spacing))


def inspect_constraint(constraint: JsonSchema, limit: Limit | None = None) -> Report:
    """`inspect_schema`, with all that a constraint may say of a schema."""
    notes = Notes(strict=False, has_document=constraint.document is not None)
    shortest, failed = None, None
    try:
        with using(POOL.fork()), within(limit):
            shortest = _shortest(constraint, notes)
    except GrammarError as error:
        failed = Refusal(error.where, error.keyword, error.reason, error.rewrite)
        if not constraint.lenient:
            notes.refused[error.where, error.keyword] = failed
    found = tuple(notes.refused.values())
    return Report(
        enforced=tuple(Enforced(*key) for key in notes.enforced if key not in notes.refused),
        refused=found if not constraint.lenient else () if failed is None else (failed,),
        dropped=found if constraint.lenient else (),
        ignored=tuple(Ignored(*key, reason) for key, reason in notes.ignored.items() if key not in notes.refused),
        warnings=tuple(notes.warnings),
        shortest=shortest,
    )


def _shortest(constraint: JsonSchema, notes: Notes) -> str | None:
    schema = read_schema(constraint, notes)
    read_all(schema, constraint)
    if notes.refused and not constraint.lenient:
        return None
    text = POOL.shortest(compile_read(schema, constraint, notes))
    return None if text is None else text.decode()
