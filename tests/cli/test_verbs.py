"""The verbs that need a model, with one that echoes: options arrive, results are printed, codes are right."""

import io
import json
import signal
import sys
from pathlib import Path

import pytest

from rootform import cli
from rootform.engine.job import Job
from rootform.engine.types import (
    Call,
    Completion,
    Delta,
    JsonSchema,
    Lenience,
    ModelInfo,
    Refusal,
    RootformError,
    Usage,
)


class Echo:
    """Answers {"said": PROMPT}; a prompt with "broken" in it fails."""

    info = ModelInfo(name="echo", context_tokens=1000, has_chat_template=False, extract_prompt="{document}")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.closed = False
        self.lenience: Lenience | None = None

    def submit(self, call: Call) -> Job:
        self.calls.append(call)
        job = Job(lambda: None)
        if "broken" in str(call.prompt):
            job.fail(RootformError("no luck", status=500))
            return job
        text = json.dumps({"said": call.prompt})
        job.push(Delta(request_id=0, text=text, token_ids=()))
        usage = Usage(prompt_tokens=4, cached_tokens=1, completion_tokens=3, forward_passes=3)
        early = "long" in str(call.prompt)
        found = {"closed_early": early, "lenience": self.lenience}
        job.finish(Completion(text=text, token_ids=(), finish_reason="stop", usage=usage, **found))
        return job

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Echo:
    client = Echo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_client", lambda *_, **__: client)
    Path("s.json").write_text('{"type": "object"}')
    return client


def test_extract(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.csv").write_text("key;x,body\na,one\nb,two\n")
    arguments = "extract in.csv --schema s.json --output out.jsonl --text-field body --id-field key;x --max-tokens 7"
    assert cli.main([*arguments.split(), "--temperature", "0.5", "--seed", "3", "--spacing", "flexible"]) == 0
    assert Path("out.jsonl").read_text() == (
        '{"id":"a","result":{"said": "one"}}\n{"id":"b","result":{"said": "two"}}\n'
    )
    err = capsys.readouterr().err
    assert "2 rows: 2 extracted, 0 failed" in err
    assert "written: out.jsonl" in err
    assert [call.max_tokens for call in echo.calls] == [7, 7]
    assert [(call.sampling.temperature, call.sampling.seed) for call in echo.calls] == [(0.5, 3), (0.5, 4)]
    assert echo.calls[0].constraint == JsonSchema('{"type": "object"}', spacing="flexible")
    assert echo.closed


def test_all_schema_options_arrive(echo: Echo) -> None:
    Path("in.jsonl").write_text('{"text": "one"}\n')
    Path("s.json").write_text('{"$ref": "urn:b", "type": "object"}')
    Path("b.json").write_text('{"minProperties": 1}')
    options = "--spacing canonical --property-order any --draft 2019-09 --ref urn:b=b.json --lenient --escapes minimal"
    assert cli.main([*["extract", "in.jsonl", "--schema", "s.json", "--output", "out.jsonl"], *options.split()]) == 0
    assert cli.main([*["run", "one", "--schema", "s.json"], *options.split()]) == 0
    documents = (("urn:b", '{"minProperties": 1}'),)
    schema = '{"$ref": "urn:b", "type": "object"}'
    wanted = JsonSchema(schema, "canonical", None, "any", "2019-09", documents, True, "minimal")
    assert [call.constraint for call in echo.calls] == [wanted, wanted]


def test_a_lenient_run_tells_what_was_left_out_and_whether_the_result_is_valid(
    echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped = (Refusal("#/a", "pattern", "is odd", "write less"),)
    echo.lenience = Lenience(dropped, False, "/a is not as #/a/pattern asks")
    assert cli.main(["run", "one", "--schema", "s.json", "--lenient"]) == 1
    err = capsys.readouterr().err
    assert "#/a, 'pattern': is odd; write less" in err
    assert "the result is not valid: /a is not as #/a/pattern asks" in err
    echo.lenience = Lenience(dropped, True)
    assert cli.main(["run", "one", "--schema", "s.json", "--lenient"]) == 0


def test_failed_rows_are_exit_code_1(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_text('{"text": "broken"}\n{"text": "fine"}\n')
    arguments = ["extract", "in.jsonl", "--schema", "s.json", "--output", "out.jsonl", "--with-meta"]
    assert cli.main(arguments) == 1
    assert "1 x failed; the first: line 1: no luck" in capsys.readouterr().err
    assert cli.main([*arguments, "--quiet"]) == 1
    assert capsys.readouterr() == ("", "")
    error, result = (json.loads(line) for line in Path("out.jsonl").read_text().splitlines())
    assert error == {"id": 1, "error": {"kind": "failed", "reason": "line 1: no luck", "line": 1}}
    assert result["usage"]["prompt_tokens"] == 4


def test_an_output_is_not_overwritten_unasked(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_text('{"text": "fine"}\n')
    arguments = ["extract", "in.jsonl", "--schema", "s.json", "--output", "out.jsonl"]
    assert [cli.main(arguments), cli.main(arguments), cli.main([*arguments, "--overwrite"])] == [0, 2, 0]
    assert "--overwrite" in capsys.readouterr().err


def test_standard_input(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 9, "text": "piped"}')))
    assert cli.main(["extract", "-", "--schema", "s.json", "--output", "out.jsonl", "--quiet"]) == 0
    assert json.loads(Path("out.jsonl").read_text()) == {"id": 9, "result": {"said": "piped"}}


def test_run(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.txt").write_text("Read this: {document}\n")
    assert cli.main(["run", "long text", "--schema", "s.json", "--prompt", "p.txt"]) == 0
    out, err = capsys.readouterr()
    assert out == '{\n  "said": "Read this: long text"\n}\n'
    assert "closed early" in err
    assert cli.main(["run", "broken", "--schema", "s.json"]) == 2
    assert capsys.readouterr() == ("", "rootform: no luck\n")


def test_a_prompt_for_one_document_has_no_other_fields(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.txt").write_text("{document} {who}")
    assert cli.main(["run", "x", "--schema", "s.json", "--prompt", "p.txt"]) == 2
    assert "'who'" in capsys.readouterr().err


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_has_its_own_code(
    echo: Echo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signal_: signal.Signals
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(signal_)

    monkeypatch.setattr(cli, "_client", interrupted)
    assert cli.main(["run", "x", "--schema", "s.json"]) == 130
    assert capsys.readouterr().err == "rootform: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before
