"""A constraint to the expression of the texts it accepts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .alphabet import Restricted
from .chars import CodePoints
from .constraints import Choice, Constraint, Grammar, JsonObject, JsonSchema, Regex, Spacing, StructuralTag
from .errors import GrammarError
from .expr import POOL
from .grammar_compile import compile_grammar
from .outlines import compile_outlines_choice, compile_outlines_pattern
from .regex import compile_pattern
from .schema_compile import compile_json_object, compile_schema
from .structural import Parts, compile_structural_tag
from .work import tick


def expression_of(constraint: Constraint, alphabet: CodePoints | None = None) -> int:
    """What the whole output may be, as an expression of `POOL` that is not empty.

    alphabet: the characters that the tokenizer can spell, None being all; texts with others are left out. Raises
    GrammarError when the constraint is broken, cannot be enforced exactly, or leaves no text at all.
    """
    expression = _expression(constraint)
    if POOL.is_empty(expression):
        raise GrammarError(place_of(constraint), "", "nothing can satisfy this")
    if alphabet is not None:
        expression = Restricted(alphabet).of(expression)
        if POOL.is_empty(expression):
            raise GrammarError(
                place_of(constraint), "", "the tokenizer has no tokens to spell any text that satisfies this"
            )
    return expression


def _expression(constraint: Constraint) -> int:
    if isinstance(constraint, Regex):
        if constraint.backend == "outlines":
            return compile_outlines_pattern(constraint.pattern)
        return compile_pattern(constraint.pattern, mode="fullmatch", encoding="utf8")
    if isinstance(constraint, Choice):
        if constraint.backend == "outlines":
            return compile_outlines_choice(constraint.options)
        return _choice(constraint.options)
    if isinstance(constraint, JsonSchema):
        return compile_schema(constraint)
    if isinstance(constraint, Grammar):
        return compile_grammar(constraint.text, constraint.syntax, constraint.start, _schemas(constraint.spacing))
    if isinstance(constraint, StructuralTag):
        return compile_structural_tag(constraint.tag, _structural_parts(constraint.spacing))
    assert isinstance(constraint, JsonObject)
    return compile_json_object(constraint.spacing, constraint.escapes)


def _choice(options: tuple[str, ...]) -> int:
    return POOL.texts([_encoded(i, option) for i, option in enumerate(options)])


def _encoded(index: int, option: str) -> bytes:
    tick()
    try:
        return option.encode()
    except UnicodeEncodeError as error:
        reason = "a lone surrogate is not a character"
        raise GrammarError(f"choice {index}", option[error.start], reason, "remove it") from error


@cache
def _schemas(spacing: Spacing) -> Callable[[str], int]:
    """From a schema to what it accepts; of one spacing always the same, as what is remembered is named by it."""
    return lambda schema: _expression(JsonSchema(schema, spacing))


def _structural_parts(spacing: Spacing) -> Parts:
    return (
        lambda schema: _expression(JsonSchema(schema, spacing)),
        lambda pattern: _expression(Regex(pattern)),
        lambda grammar: _expression(Grammar(grammar, spacing=spacing)),
    )


def place_of(constraint: Constraint) -> str:
    """Where in a constraint an error is that concerns all of it."""
    if isinstance(constraint, Regex):
        return "regex, column 1"
    if isinstance(constraint, Grammar):
        return "grammar, line 1, column 1"
    if isinstance(constraint, StructuralTag):
        return "structural tag"
    return "choices" if isinstance(constraint, Choice) else "#"
