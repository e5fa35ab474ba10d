"""How extractions are scored: intents, exact slot spans, document fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass
class SlotScore:
    """Counts over utterances, and the figures the field reports from them."""

    rows: int = 0
    right_intents: int = 0
    right_rows: int = 0
    right_spans: int = 0
    given_spans: int = 0
    wanted_spans: int = 0

    def add(self, given: object, intent: str, slots: Mapping[str, list[str]]) -> None:
        """Count one answer (any JSON value; what is not an answer at all has no spans) against the truth."""
        wanted = spans(slots)
        found = spans(given.get("slots")) if isinstance(given, dict) else Counter()
        same_intent = isinstance(given, dict) and given.get("intent") == intent
        self.rows += 1
        self.right_intents += same_intent
        self.right_rows += same_intent and found == wanted
        self.right_spans += (found & wanted).total()
        self.given_spans += found.total()
        self.wanted_spans += wanted.total()

    @property
    def intent_accuracy(self) -> float:
        return percent(self.right_intents, self.rows)

    @property
    def exact_rows(self) -> float:
        return percent(self.right_rows, self.rows)

    @property
    def precision(self) -> float:
        return percent(self.right_spans, self.given_spans)

    @property
    def recall(self) -> float:
        return percent(self.right_spans, self.wanted_spans)

    @property
    def f1(self) -> float:
        return percent(2 * self.right_spans, self.given_spans + self.wanted_spans)


def spans(slots: object) -> Counter[tuple[str, str]]:
    """The (slot, text) pairs of a slots object, each as often as it is given."""
    if not isinstance(slots, dict):
        return Counter()
    return Counter((slot, value) for slot, values in slots.items() for value in values)


def percent(part: int, whole: int) -> float:
    """100 * part / whole; 0 of 0 is 0."""
    return 100.0 * part / whole if whole else 0.0


def right_fields(given: object, wanted: Mapping[str, object]) -> int:
    """How many fields of `wanted` the answer gives exactly."""
    if not isinstance(given, dict):
        return 0
    return sum(field in given and given[field] == value for field, value in wanted.items())


def field_share(pairs: Iterable[tuple[object, Mapping[str, object]]]) -> float:
    """Percent of all wanted fields that are right, over (given, wanted) pairs."""
    right = total = 0
    for given, wanted in pairs:
        right += right_fields(given, wanted)
        total += len(wanted)
    return percent(right, total)
