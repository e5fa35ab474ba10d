"""The official JSON-Schema-Test-Suite, where a copy of it lies beside the repository."""

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.schema_compile import compile_schema

SUITE = Path(__file__).parents[2] / "../shared/json-schema-test-suite.json.gz"
BY_DESIGN = {
    "format.json": "a format is an assertion here",
    "vocabulary.json": "a dialect of one's own is read as draft 2020-12, with a warning",
}
FORMATS_LEFT_OUT = {"ecmascript-regex", "regex", "idn-email", "idn-hostname"}  # not enforced
LEFT_OUT = ("leap second", "punycode", "Punycode")  # see formats.py
ENFORCED_SHARE = {"draft2020-12": 0.6, "draft7": 0.7}


def groups(draft: str, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, found in json.loads(gzip.decompress(SUITE.read_bytes()))["files"].items():
        parent, _, name = path.rpartition("/")
        if parent == f"tests/{draft}{folder}":
            yield from ((name, group) for group in found)


def canonical(value: Any) -> Any:
    """The spelling that is written: whole numbers without a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return {name: canonical(item) for name, item in value.items()} if isinstance(value, dict) else value


def orders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            for members in itertools.product(*[list(orders(value[name])) for name in names]):
                yield dict(zip(names, members, strict=True))
    elif isinstance(value, list):
        yield from map(list, itertools.product(*map(list, map(orders, value))))
    else:
        yield value


def is_accepted(expression: int, value: Any) -> bool:
    texts = (json.dumps(v, separators=(",", ":"), ensure_ascii=False) for v in itertools.islice(orders(value), 200))
    return any(POOL.fullmatch(expression, text.encode()) for text in texts)


def wrong_verdicts(schema: Any, tests: list[dict[str, Any]]) -> list[str] | None:
    """Descriptions of the tests that go wrong; None when the schema is refused."""
    try:
        expression = compile_schema(JsonSchema(json.dumps(schema)))
    except GrammarError as error:
        return [t["description"] for t in tests if t["valid"]] if "nothing satisfies" in error.reason else None
    return [t["description"] for t in tests if is_accepted(expression, canonical(t["data"])) != t["valid"]]


needs_suite = pytest.mark.skipif(
    not SUITE.exists(), reason="no copy of the JSON-Schema-Test-Suite beside the repository"
)


@needs_suite
@pytest.mark.parametrize("draft", sorted(ENFORCED_SHARE))
def test_required_tests_of_what_is_not_refused(draft: str) -> None:
    dialect = {"$schema": "http://json-schema.org/draft-07/schema#"} if draft == "draft7" else {}
    verdicts = {}
    for name, group in groups(draft, ""):
        schema = {**dialect, **group["schema"]} if isinstance(group["schema"], dict) else group["schema"]
        if name not in BY_DESIGN:
            verdicts[name, group["description"]] = wrong_verdicts(schema, group["tests"])
    compiled = {key: wrong for key, wrong in verdicts.items() if wrong is not None}
    assert {key: wrong for key, wrong in compiled.items() if wrong} == {}
    assert len(compiled) >= ENFORCED_SHARE[draft] * len(verdicts)


@needs_suite
def test_formats() -> None:
    wrong = []
    for name, group in groups("draft2020-12", "/optional/format"):
        if name.removesuffix(".json") not in FORMATS_LEFT_OUT and "A-label" not in group["description"]:
            wrong += [f"{name}: {text}" for text in wrong_verdicts(group["schema"], group["tests"]) or []]
    assert [text for text in wrong if not any(part in text for part in LEFT_OUT)] == []
