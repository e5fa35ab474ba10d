"""Random schemas and values: what is accepted is what the jsonschema package calls valid."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.work import Limit, within

NAMES = ("a", "b", "c")
STRINGS = ("", "a", "ab", "ba", "é😀", '"\\/')
names = st.sampled_from(NAMES)
small = st.integers(0, 3)
numbers = st.integers(-4, 12) | st.sampled_from([0.5, -0.5, 2.25, 9.75])
scalars = st.none() | st.booleans() | numbers | st.sampled_from(STRINGS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def plain_keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """The values of keywords that say something of one type, or hold one way."""
    return {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=4),
        "const": scalars,
        "minLength": small,
        "maxLength": small,
        "pattern": st.sampled_from(["a", "^a", "b$", "^(ab|)$", '["😀]', "^[^a]*$"]),
        "minimum": numbers,
        "maximum": numbers,
        "exclusiveMinimum": numbers,
        "exclusiveMaximum": numbers,
        "multipleOf": st.sampled_from([1, 2, 3, 10, 0.5, 0.25]),
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "minItems": small,
        "maxItems": small,
        "properties": st.dictionaries(names, inner, max_size=3),
        "patternProperties": st.dictionaries(st.sampled_from(["a", "^b", "."]), inner, max_size=2),
        "additionalProperties": inner,
        "propertyNames": inner,
        "required": st.lists(names, max_size=2, unique=True),
        "minProperties": small,
        "maxProperties": small,
        "anyOf": st.lists(inner, min_size=1, max_size=3),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "$ref": st.sampled_from(["#", "#/$defs/x", "#/$defs/y"]),
    }


def branching_keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """The values of keywords that negate, count, compare, or look at what others have evaluated."""
    return {
        "oneOf": st.lists(inner, min_size=1, max_size=3),
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "contains": inner,
        "minContains": small,
        "maxContains": small,
        "uniqueItems": st.booleans(),
        "dependentRequired": st.dictionaries(names, st.lists(names, max_size=2, unique=True), max_size=2),
        "dependentSchemas": st.dictionaries(names, inner, max_size=2),
        "unevaluatedItems": inner,
        "unevaluatedProperties": inner,
    }


def some_of(keywords: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(st.sampled_from(sorted(keywords)), max_size=most, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in chosen})
    )


def plain(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return some_of(plain_keywords(inner), 5)


def any_keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda first, second: first | second, some_of(plain_keywords(inner), 3), some_of(branching_keywords(inner), 3)
    )


plain_schemas = st.recursive(st.booleans() | plain(st.booleans()), plain, max_leaves=6)
schemas = st.recursive(st.booleans() | any_keywords(st.booleans()), any_keywords, max_leaves=5)


def orders(value: Any) -> Iterator[Any]:
    """The value with its members in every order: the schema says which one is written."""
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            for members in itertools.product(*[list(orders(value[name])) for name in names]):
                yield dict(zip(names, members, strict=True))
    elif isinstance(value, list):
        yield from map(list, itertools.product(*map(list, map(orders, value))))
    else:
        yield value


def accepted_orders(expression: int, value: Any) -> list[str]:
    texts = [json.dumps(v, separators=(",", ":"), ensure_ascii=False) for v in itertools.islice(orders(value), 200)]
    return [text for text in texts if POOL.fullmatch(expression, text.encode())]


def compiled(constraint: JsonSchema) -> int | GrammarError:
    """The expression; EMPTY when nothing satisfies the schema."""
    try:
        with within(Limit(2.0)):
            return compile_schema(constraint)
    except GrammarError as error:
        return EMPTY if "nothing satisfies" in error.reason else error


def verdict(validator: Any, value: Any) -> bool | None:
    """What jsonschema says; None when it goes round in circles, in a keyword that cannot matter."""
    try:
        return validator.is_valid(value)
    except RecursionError:
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a RecursionError met in native code
            raise
        return None


REASONS = (
    "itself without anything",
    "would have to be counted",
    "cannot be asked to be equal",
    "may be such arrays themselves",
    "combinations",
    "takes more than",
    "too large to decide",
    "is not enforced yet",
)


def is_refused_as_it_may_be(error: GrammarError) -> bool:
    """Whether a refusal is one that random schemas meet; any other would be a surprise."""
    return any(reason in error.reason for reason in REASONS)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=plain_schemas, defs=st.tuples(plain_schemas, plain_schemas), instances=st.lists(values, min_size=4))
def test_accepts_what_is_valid(schema: Any, defs: tuple[Any, Any], instances: list[Any]) -> None:
    own = schema if isinstance(schema, dict) else {"allOf": [schema]}
    whole = {**own, "$defs": dict(zip("xy", defs, strict=True))}
    validator = Draft202012Validator(whole)
    expression = compiled(JsonSchema(json.dumps(whole)))
    if isinstance(expression, GrammarError):
        assert is_refused_as_it_may_be(expression), expression
        return
    for value in instances:
        assert bool(accepted_orders(expression, value)) == validator.is_valid(value), value
    if expression != EMPTY:
        assert validator.is_valid(json.loads(POOL.shortest(expression) or b""))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, defs=st.tuples(schemas, schemas), instances=st.lists(values, min_size=6), old=st.booleans())
def test_every_keyword_in_any_order(schema: Any, defs: tuple[Any, Any], instances: list[Any], old: bool) -> None:
    own = schema if isinstance(schema, dict) else {"allOf": [schema]}
    whole = {**own, "$defs": dict(zip("xy", defs, strict=True))}
    validator = (Draft7Validator if old else Draft202012Validator)(whole)
    with using(POOL.fork()):
        constraint = JsonSchema(json.dumps(whole), "flexible", property_order="any", draft="7" if old else None)
        expression = compiled(constraint)
        if isinstance(expression, GrammarError):
            assert is_refused_as_it_may_be(expression), expression
            return
        for value in instances:
            expected = verdict(validator, value)
            assert expected in (None, POOL.fullmatch(expression, json.dumps(value).encode())), value
        if expression != EMPTY:
            assert verdict(validator, json.loads(POOL.shortest(expression) or b"")) in (None, True)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=plain_schemas, value=values, indent=st.sampled_from([None, 0, 2]))
def test_spacing_changes_nothing_else(schema: Any, value: Any, indent: int | None) -> None:
    compact = compiled(JsonSchema(json.dumps(schema)))
    if isinstance(compact, GrammarError):
        return
    canonical, flexible = (compiled(JsonSchema(json.dumps(schema), s)) for s in ("canonical", "flexible"))
    assert isinstance(canonical, int)
    assert isinstance(flexible, int)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    spaced = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    assert POOL.fullmatch(compact, text) == POOL.fullmatch(flexible, text) == POOL.fullmatch(flexible, spaced)
    assert POOL.fullmatch(canonical, json.dumps(value, ensure_ascii=False).encode()) == POOL.fullmatch(compact, text)
