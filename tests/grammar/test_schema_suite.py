"""The official JSON-Schema-Test-Suite, where a copy of it lies beside the repository."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rootform.grammar.constraints import Draft, JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema

SUITE = Path(__file__).parents[2] / "../shared/json-schema-test-suite.json.gz"
REMOTES = "http://localhost:1234/"
DRAFTS: dict[str, Draft] = {"draft2020-12": "2020-12", "draft7": "7"}
BY_DESIGN = {
    "format.json": "a format is an assertion here",
    "content.json": "contentEncoding and contentMediaType are annotations, as they are since draft 2019-09",
}
REFUSED = {"": 0.0, "/optional": 0.0, "/optional/format": 0.0}
"""The share of tests in each folder whose schema may be refused."""
NOT_WRITTEN: tuple[str, ...] = ()
"""Valid values of formats that are left out: see formats.py and its neighbours."""

needs_suite = pytest.mark.skipif(
    not SUITE.exists(), reason="no copy of the JSON-Schema-Test-Suite beside the repository"
)


@cache
def files() -> dict[str, Any]:
    return json.loads(gzip.decompress(SUITE.read_bytes()))["files"]


def groups(draft: str, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, found in files().items():
        parent, _, name = path.rpartition("/")
        if parent == f"tests/{draft}{folder}" and name not in BY_DESIGN:
            yield from ((f"{name}: {group['description']}", group) for group in found)


@cache
def remotes() -> tuple[tuple[str, str], ...]:
    of_drafts = [(path, text) for path, text in files().items() if path.startswith("remotes/") and "/v1/" not in path]
    return tuple((REMOTES + path.removeprefix("remotes/"), json.dumps(text)) for path, text in of_drafts)


def constraint(draft: str, schema: Any) -> JsonSchema:
    text = json.dumps(schema)
    documents = remotes() if REMOTES in text else ()
    said = None if isinstance(schema, dict) and "$schema" in schema else DRAFTS[draft]
    return JsonSchema(text, "flexible", property_order="any", draft=said, documents=documents)


def compiled(draft: str, schema: Any) -> int | None:
    """The expression, or None when the schema is refused."""
    try:
        return compile_schema(constraint(draft, schema))
    except GrammarError as error:
        return EMPTY if "nothing satisfies" in error.reason else None


@needs_suite
@pytest.mark.parametrize("folder", sorted(REFUSED))
@pytest.mark.parametrize("draft", sorted(DRAFTS))
def test_suite(draft: str, folder: str) -> None:
    wrong, refused, total = [], 0, 0
    for name, group in groups(draft, folder):
        with using(POOL.fork()):
            total += len(group["tests"])
            expression = compiled(draft, group["schema"])
            if expression is None:
                refused += len(group["tests"])
                continue
            for test in group["tests"]:
                if POOL.fullmatch(expression, json.dumps(test["data"]).encode()) != test["valid"]:
                    wrong.append((f"{name}: {test['description']}", test["valid"]))
    left_out = [text for text, valid in wrong if valid and "format" in folder and any(n in text for n in NOT_WRITTEN)]
    assert [text for text, _ in wrong if text not in left_out] == []
    assert refused <= REFUSED[folder] * total
