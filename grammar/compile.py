"""A constraint to the expression of the texts it accepts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .constraints import Choice, Constraint, Grammar, JsonObject, JsonSchema, Regex, Spacing, StructuralTag
from .errors import GrammarError
from .expr import ALL_BYTES, POOL, Kind
from .grammar_compile import compile_grammar
from .outlines import compile_outlines_choice, compile_outlines_pattern
from .regex import compile_pattern
from .schema_compile import compile_json_object, compile_schema
from .structural import Parts, compile_structural_tag
from .work import tick

_UTF8_BYTES = ALL_BYTES & ~sum(1 << byte for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))


def expression_of(constraint: Constraint, alphabet: int = ALL_BYTES) -> int:
    """What the whole output may be, as an expression of `POOL` that is not empty.

    alphabet: mask of the bytes that the tokenizer can spell; texts with others are left out. Raises GrammarError when
    the constraint is broken, cannot be enforced exactly, or leaves no text at all.
    """
    expression = _expression(constraint)
    if POOL.is_empty(expression):
        raise GrammarError(place_of(constraint), "", "nothing can satisfy this")
    if _UTF8_BYTES & ~alphabet:
        expression = _Restricted(alphabet).of(expression)
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


class _Restricted:
    """Expressions cut down to texts over an alphabet, part by part, so that frames and references stay."""

    def __init__(self, alphabet: int) -> None:
        self._alphabet = alphabet
        self._every_text = POOL.repeat(POOL.byte_mask(alphabet), 0, None)
        self._known: dict[int, int] = {}

    def of(self, item: int) -> int:
        """The texts of `item` that use the alphabet alone."""
        known = self._known.get(item)
        if known is None:
            known = self._known[item] = self._find(item)
        return known

    def _find(self, item: int) -> int:
        heads = []
        while (node := POOL.node(item))[0] == Kind.CAT:
            heads.append(self.of(node[1]))
            item = node[2]
        if heads:
            return POOL.concat(*heads, self.of(item))
        kind = node[0]
        if kind == Kind.SET:
            return POOL.byte_mask(node[1] & self._alphabet)
        if kind == Kind.ALT:
            return POOL.alt(*map(self.of, node[1]))
        if kind == Kind.AND:
            return POOL.and_(*map(self.of, node[1]))
        if kind in (Kind.NOT, Kind.VERBATIM, Kind.MACHINE):
            return POOL.and_(item, self._every_text)
        if kind in (Kind.REPEAT, Kind.COUNTED):
            make = POOL.repeat if kind == Kind.REPEAT else POOL.counted
            return make(self.of(node[1]), node[2], node[3])
        if kind == Kind.FRAME:
            return POOL.frame(self.of(node[1]))
        if kind == Kind.WORDS:
            return self.of(POOL.definition(item))
        if kind == Kind.CAPTURE:
            return POOL.capture(self.of(node[1]), node[2], node[3].changed(self.of))
        return self._reference(item, node[1]) if kind == Kind.REF else item

    def _reference(self, item: int, key: object) -> int:
        restricted = ("over an alphabet", self._alphabet, key)
        if not POOL.is_defined(restricted):
            POOL.define(restricted, lambda: self.of(POOL.definition(item)))
        return POOL.ref(restricted)
