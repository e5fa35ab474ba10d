"""Scores, on answers small enough to count by hand."""

import pytest

from rootform.sprout.score import SlotScore, field_share, right_fields


def test_spans_are_counted_exactly():
    score = SlotScore()
    score.add({"intent": "A", "slots": {"x": ["one", "two"], "y": ["three"]}}, "A", {"x": ["one"], "z": ["three"]})
    score.add(None, "A", {"x": ["one"]})
    assert (score.right_spans, score.given_spans, score.wanted_spans) == (1, 3, 3)
    assert score.f1 == pytest.approx(100 / 3)
    assert score.intent_accuracy == 50.0
    assert score.exact_rows == 0.0


def test_a_row_is_right_when_intent_and_spans_are():
    score = SlotScore()
    score.add({"intent": "A", "slots": {}}, "A", {})
    score.add({"intent": "B", "slots": {}}, "A", {})
    assert score.exact_rows == 50.0


def test_a_missing_field_is_not_a_null_field():
    assert right_fields({"a": "1"}, {"a": "1", "b": None}) == 1
    assert field_share([({"a": "1", "b": None}, {"a": "1", "b": None}), (None, {"c": "2"})]) == pytest.approx(200 / 3)
