"""What people read: progress, summaries, reports on schemas."""

import io
import json
from pathlib import Path

from rich.console import Console

from rootform.engine.types import Usage
from rootform.extract.check import check_schema
from rootform.extract.outcome import Answer, Failure
from rootform.extract.progress import BarProgress, LineProgress, NoProgress, progress_on
from rootform.extract.tally import Spent, Total
from rootform.grammar.constraints import JsonSchema

USAGE = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=8, forward_passes=2)


def test_lines_of_progress_come_now_and_then() -> None:
    now, stream = [100.0], io.StringIO()
    progress = LineProgress(stream, clock=lambda: now[0])
    progress.start(rows=10_000, done=1_000)
    for step in range(100):
        now[0] += 0.125
        progress.advance(failed=step == 3)
    progress.stop()
    first, second = stream.getvalue().splitlines()
    assert first == "1,040 of 10,000 rows, 1 failed, 8.0 docs/s, ETA 0:18:40"
    assert second.startswith("1,080 of")


def test_a_bar_where_somebody_watches() -> None:
    stream = io.StringIO()
    progress = BarProgress(Console(file=stream, force_terminal=True, width=100))
    progress.start(rows=4, done=1)
    for failed in (False, True, False):
        progress.advance(failed)
    progress.stop()
    assert "4/4" in stream.getvalue()
    assert "1 failed" in stream.getvalue()


def test_the_stream_decides() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(progress_on(Terminal()), BarProgress)
    assert isinstance(progress_on(io.StringIO()), LineProgress)
    assert isinstance(progress_on(Terminal(), quiet=True), NoProgress)


def test_reasons_are_grouped_commonest_first() -> None:
    total = Total()
    total.count(Answer(number=0, id="0", result="{}", usage=USAGE, closed_early=True))
    for line, kind in enumerate(["rare", "common", "common"], 1):
        total.count(Failure(number=line, id="1", line=line, kind=kind, reason=f"line {line}: {kind}!"))
    assert total.describe().splitlines() == [
        "4 rows: 1 extracted, 3 failed; 1 closed early at the token limit",
        "  2 x common; the first: line 2: common!",
        "  1 x rare; the first: line 1: rare!",
    ]


def test_rates() -> None:
    spent = Spent(seconds=2.0)
    spent.count(Answer(number=0, id="0", result="{}", usage=USAGE))
    spent.count(Failure(number=1, id="1", line=2, kind="bad", reason="because"))
    assert spent.tokens() == "10 prompt tokens, 4 of them cached; 8 output tokens"
    assert spent.describe() == (
        "1.0 documents/s, 4 output tokens/s, 0.25 forward passes per output token, "
        "40% of prompt tokens from the prefix cache"
    )


def check(path: Path, *, as_json: bool) -> tuple[int, str]:
    stream = io.StringIO()
    code = check_schema(path, JsonSchema("", "compact"), Console(file=stream, width=120), as_json=as_json)
    return code, stream.getvalue()


def test_check_says_what_is_enforced_and_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"type": "object", "title": "T", "required": ["a"], "properties": {"a": {"enum": ["b"]}}}')
    code, text = check(path, as_json=False)
    assert code == 0
    assert "#/properties/a" in text
    assert "asserts nothing" in text
    assert 'the shortest result: {"a":"b"}' in text
    assert 'an example: {"a":"b"}' in text
    assert "8 of 9 bytes" in text or "9 of 9 bytes" in text

    path.write_text('{"type": "string", "pattern": "(a)\\\\1"}')
    code, text = check(path, as_json=False)
    assert code == 1
    assert "refused" in text
    assert "1 refused" in text


def test_check_tells_what_asserts_nothing_once_for_each_place_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(
        '{"title": "T", "description": "D", "properties": {"a": {"type": "null", "title": "A"}}, "unheard": 1}'
    )
    _, text = check(path, as_json=False)
    said = [line.split("│") for line in text.splitlines() if "asserts nothing" in line]
    assert [[cell.strip() for cell in line[1:]] for line in said] == [
        ["#", "title, description: describes, asserts nothing"],
        ["#", "unheard: is not a keyword of JSON Schema"],
        ["#/properties/a", "title: describes, asserts nothing"],
    ]


def test_check_of_a_schema_that_asserts_nothing_shows_no_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("true")
    code, text = check(path, as_json=False)
    assert (code, text.count("keywords"), "a result may be any JSON" in text) == (0, 0, True)


def test_check_tells_what_hosted_apis_refuse(tmp_path: Path) -> None:
    path, stream = tmp_path / "s.json", io.StringIO()
    path.write_text('{"type": "string", "maxLength": 3}')
    console = Console(file=stream, width=120)
    assert check_schema(path, JsonSchema("", "compact"), console, as_json=False, profiles=("gemini",)) == 0
    assert "gemini: 1 ignored (by Gemini API, Structured outputs, last updated 2026-02-26" in stream.getvalue()
    assert check_schema(path, JsonSchema("", "compact"), console, as_json=False, profiles=("gemini", "anthropic")) == 1
    assert "maxLength: string constraints are not supported" in stream.getvalue()
    assert check_schema(path, JsonSchema("", "compact"), console, as_json=True, profiles=("openai",)) == 1
    hosted = json.loads(stream.getvalue()[stream.getvalue().rindex("\n{\n") :])["hosted"]
    assert [each["verdict"] for each in hosted["openai"]["findings"]] == ["undocumented", "refused"]


def test_examples_of_verbatim_values_stand_in_a_document(tmp_path: Path) -> None:
    path, stream = tmp_path / "s.json", io.StringIO()
    path.write_text('{"properties": {"name": {"type": "string", "x-rootform": {"verbatim": true}}}, "type": "object"}')
    console = Console(file=stream, width=120)
    assert check_schema(path, JsonSchema("", "compact"), console, as_json=False) == 0
    assert 'an example: {"name":"Ann Berg"}' in stream.getvalue()
    assert "needs a document" in stream.getvalue()
    assert check_schema(path, JsonSchema("", "compact"), console, as_json=False, document="the url") == 0
    assert 'an example: {"name":""}' in stream.getvalue()


def test_check_as_json(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"type": "string", "pattern": "(a)\\\\1"}')
    code, text = check(path, as_json=True)
    report = json.loads(text)
    assert (code, report["ok"], report["example"]) == (1, False, None)
    assert [(refusal["where"], refusal["keyword"]) for refusal in report["refused"]] == [("#", "pattern")]
    assert {"where": "#", "keyword": "type"} in report["enforced"]
