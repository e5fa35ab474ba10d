"""The command line: what each verb prints and the code it ends with. A process of its own where that matters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootform.cli import main

SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text(SCHEMA)
    Path("in.jsonl").write_text('{"text": "one"}\n')
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as exit:
        code = int(exit.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("verb", ["extract", "run", "check", "serve", "demo"])
def test_every_verb_has_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    code, out, _ = said(capsys, verb, "--help")
    assert code == 0
    assert f"usage: rootform {verb}" in out


def test_help_documents_exit_codes_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "extract", "--help")
    assert "exit codes:" in out
    assert "rootform extract docs.jsonl --schema" in out


def test_version_and_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version")[:2] == (0, "rootform 0.1.0\n")
    code, _, err = said(capsys)
    assert code == 2
    assert "VERB" in err


BAD = [
    (["extract", "none.jsonl", "--schema", "s.json", "--output", "o"], "input none.jsonl: cannot be read"),
    (["extract", "in.jsonl", "--schema", "none.json", "--output", "o"], "schema none.json: cannot be read"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "no/o"], "there is no folder no"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "."], "this is a folder"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--text-field", "body"], "no row has a field"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--prompt", "none"], "prompt none: cannot be"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--concurrency", "0"], "0 is less than 1"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--temperature", "-1"], "-1 is not 0 or more"),
    (
        ["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--server", "http://127.0.0.1:9"],
        "http://127.0.0.1:9 cannot be reached",
    ),
    (["run", "x", "--schema", "s.json", "--server", "http://h", "--threads", "1"], "--threads is for a model in this"),
    (["run", "x", "--schema", "s.json", "--server", "http://h", "--overlap", "on"], "--overlap is for a model in this"),
    (["run", "x", "--schema", "s.json", "--overlap", "on"], "overlap is for a model on a device"),
    (["run", "x", "--schema", "s.json", "--page-tokens", "32"], "page_tokens is for a model on a device"),
    (["serve", "--overlap", "yes"], "invalid choice: 'yes'"),
    (["check", "none.json"], "schema none.json: cannot be read"),
    (["serve", "--port", "80000"], "80000 is not a port"),
    (["serve", "--port", "abc"], "'abc' is not a whole number; see rootform serve --help"),
    (["serve", "--itl-ms", "0"], "0 is not above 0"),
    (["serve", "--api-key", ""], "'' is no key; give one line of text"),
    (["serve", "--dtype", "fp8"], "invalid choice: 'fp8'"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--temperature", "x"], "'x' is not a number"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--delimiter", "::"], "is not one character"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--delimiter", ";"], "--delimiter is about CSV"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "in.jsonl", "--overwrite"], "would be lost"),
    (["extract", "in.jsonl", "--schema", "s.json", "--output", "o", "--id-field", "no"], "no row has a field 'no'"),
    (["run", "x", "--schema", "s.json", "--server", "127.0.0.1:8000"], "write it as in http://127.0.0.1:8000"),
    (["run", "x", "--schema", "s.json", "--server", "ftp://h"], "'ftp://h' is no address of a server"),
    (["serve", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_usage_is_one_message_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert {path.name for path in folder.iterdir()} == {"s.json", "in.jsonl"}


def test_a_model_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "run", "x", "--schema", "s.json", "--model", "./none")
    assert code == 2
    assert "'./none'" in err
    assert "Traceback" not in err


def test_check(folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "check", "s.json", "--json")
    found = json.loads(out)
    assert (code, found["shortest"], found["example"]) == (0, '{"n":0}', '{"n":1}')
    assert found["cost"]["tokens"]["tokenizer"] == "sprout"
    code, out, _ = said(capsys, "check", "s.json", "--json", "--profile", "openai", "--tokenizer", str(tiny_model))
    assert (code, [finding["keyword"] for finding in json.loads(out)["hosted"]["openai"]["findings"]]) == (
        1,
        ["additionalProperties"],
    )
    Path("bad.json").write_text('{"not": {}}')
    assert said(capsys, "check", "bad.json")[0] == 1
    Path("broken.json").write_text('{"not": ')
    code, _, err = said(capsys, "check", "broken.json")
    assert code == 2
    assert "line 1, column 9: this is not JSON" in err


def test_a_check_that_goes_into_a_file_breaks_no_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a" * 200
    Path("a.json").write_text(json.dumps({"properties": {name: {"type": "integer"}}, "requried": [name]}))
    monkeypatch.delenv("COLUMNS", raising=False)
    code, out, _ = said(capsys, "check", "a.json")
    assert code == 0
    assert sum(f"#/properties/{name}" in line for line in out.splitlines()) == 1
    assert sum(line.startswith("warning: #: ") and "'required'" in line for line in out.splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "80")
    assert f"#/properties/{name}" not in said(capsys, "check", "a.json")[1].replace("│", "").split()


def test_check_reads_a_schema_as_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_text('{"type": "object", "properties": {"b": {"$ref": "urn:b"}, "c": {"$ref": "urn:b"}}}')
    Path("b.json").write_text('{"type": "integer", "minimum": 3, "exclusiveMinimum": true}')
    assert said(capsys, "check", "a.json", "--json")[0] == 1
    given = ("--ref", "urn:b=b.json", "--draft", "4", "--spacing", "canonical", "--property-order", "any")
    code, out, _ = said(capsys, "check", "a.json", "--json", *given)
    assert (code, json.loads(out)["example"]) == (0, '{"b": 42, "c": 42}')
    code, _, err = said(capsys, "check", "a.json", "--ref", "b.json")
    assert (code, "give the URI of the schema and its file" in err) == (2, True)


def test_check_of_a_lenient_schema(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_text(r'{"type": "string", "pattern": "^(a|b)-\\1$", "enum": ["a-a", "a"]}')
    assert said(capsys, "check", "a.json")[0] == 1
    code, out, _ = said(capsys, "check", "a.json", "--lenient", "--json")
    found = json.loads(out)
    assert (code, found["refused"], found["shortest"]) == (0, [], '"a"')
    assert [(each["where"], each["keyword"]) for each in found["dropped"]] == [("#", "pattern")]
    assert found["lenience"]["valid"] == (found["example"] == '"a-a"')
    code, out, _ = said(capsys, "check", "a.json", "--lenient")
    assert (code, "left out" in out, "1 left out, and checked on the whole result" in out) == (0, True, True)


def test_an_unwritable_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs a place where nobody, not even root, can write")
    code, _, err = said(capsys, "extract", "in.jsonl", "--schema", "s.json", "--output", "/proc/o.jsonl")
    assert code == 2
    assert "output /proc/o.jsonl: cannot be written" in err


def test_a_closed_pipe_and_light_verbs_need_no_torch(folder: Path) -> None:
    code = (
        "import sys; from rootform.cli import main; code = main(['check', 's.json']); "
        "sys.exit('torch' in sys.modules or code)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
