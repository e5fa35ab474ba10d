"""Counting right fields."""

import pytest

from rootform.extract.accuracy import count_right


@pytest.mark.parametrize(
    ("given", "expected", "counts"),
    [
        ({"a": 1, "b": None}, {"a": 1, "b": None}, (2, 2)),
        ({"a": 1}, {"a": 2, "b": None}, (0, 2)),
        ({"a": 1, "c": 3}, {"a": 1}, (1, 2)),
        ({"i": "x", "s": {"p": ["u"], "q": ["v"]}}, {"i": "x", "s": {"p": ["u"], "r": ["w"]}}, (2, 4)),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, (0, 1)),
        ({"a": True}, {"a": 1}, (0, 1)),
        ({"a": [1]}, {"a": [True]}, (0, 1)),
        ({"a": 1.0}, {"a": 1}, (1, 1)),
        (None, {"a": None}, (0, 2)),
        ("x", {"a": "x"}, (0, 2)),
        ({}, {}, (0, 0)),
    ],
)
def test_counts(given: object, expected: object, counts: tuple[int, int]) -> None:
    assert count_right(given, expected) == counts
