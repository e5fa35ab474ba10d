"""What a caller's keywords ask for; words that mean nothing are refused by name."""

from __future__ import annotations

import pytest

from rootform.engine.options import make_constraint
from rootform.engine.types import JsonSchema, RootformError


@pytest.mark.parametrize(
    ("option", "word", "known"),
    [
        ("spacing", "loose", "compact, canonical, flexible, indent, indent4"),
        ("escapes", "plain", "any, minimal"),
        ("property_order", "random", "schema, any"),
        ("draft", "3", "openapi-3.0, 4, 6, 7, 2019-09, 2020-12"),
    ],
)
def test_an_unknown_word_is_refused_with_those_that_are_known(option: str, word: str, known: str) -> None:
    with pytest.raises(RootformError) as refused:
        make_constraint(schema=True, **{option: word})  # type: ignore[arg-type]
    assert str(refused.value) == f"{option} is one of {known}; not {word!r}"
    assert refused.value.param == option


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(RootformError, match="backend is one of rootform, outlines; not 'other'"):
        make_constraint(regex="a", backend="other")  # type: ignore[arg-type]


def test_known_words_reach_the_constraint() -> None:
    constraint = make_constraint(schema=True, spacing="canonical", escapes="minimal", property_order="any", draft="7")
    assert isinstance(constraint, JsonSchema)
    assert (constraint.spacing, constraint.escapes) == ("canonical", "minimal")
    assert (constraint.property_order, constraint.draft) == ("any", "7")
