"""Whole jobs with a scripted model: order, errors, continuing, and what is never overwritten."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from rootform.engine.types import RootformError
from rootform.extract.asking import Options
from rootform.extract.report import exit_code, summary


def lines(count: int) -> str:
    return "".join(json.dumps({"id": f"doc-{n}", "text": f"text {n}."}) + "\n" for n in range(count))


def number_in(prompt: str) -> str:
    """The scripted answer: the number in the document, which ends the prompt."""
    return '{"n":' + prompt.rpartition(" ")[2].rstrip(".") + "}"


def expected(count: int) -> list[dict[str, object]]:
    return [{"id": f"doc-{n}", "result": {"n": n}} for n in range(count)]


def test_rows_come_out_in_order_with_their_ids(bench, scripted) -> None:
    bench.write_input(lines(50))
    client = scripted(number_in)
    result = bench.run(client, window=16, concurrency=4)
    assert bench.rows() == expected(50)
    assert exit_code(result) == 0
    assert client.at_once <= 4
    assert client.closed
    assert sorted(path.name for path in bench.folder.iterdir()) == ["in.jsonl", "out.jsonl", "schema.json"]


def test_requests_go_out_sorted_within_a_window(bench, scripted) -> None:
    bench.write_input("".join(json.dumps({"text": f"{'ab'[n % 2]} {n}"}) + "\n" for n in range(8)))
    client = scripted(number_in)
    bench.run(client, window=4, concurrency=1)
    documents = [prompt.rpartition("\n")[2] for prompt in client.asked]
    assert documents == ["a 0", "a 2", "b 1", "b 3", "a 4", "a 6", "b 5", "b 7"]
    assert [row["result"] for row in bench.rows()] == [{"n": n} for n in range(8)]


def test_duplicate_ids_are_two_rows(bench, scripted) -> None:
    bench.write_input('{"id": 1, "text": " 5"}\n{"id": 1, "text": " 6"}\n')
    bench.run(scripted(number_in))
    assert bench.rows() == [{"id": 1, "result": {"n": 5}}, {"id": 1, "result": {"n": 6}}]


def test_bad_rows_become_error_rows_and_the_job_goes_on(bench, scripted) -> None:
    bench.write_input(lines(2) + "{broken\n" + '{"id": "x"}\n' + lines(1))
    result = bench.run(scripted(number_in))
    rows = bench.rows()
    assert [row["id"] for row in rows] == ["doc-0", "doc-1", None, "x", "doc-0"]
    assert [row["error"]["kind"] for row in rows[2:4]] == ["malformed JSON", "missing field"]
    assert [row["error"]["line"] for row in rows[2:4]] == [3, 4]
    assert exit_code(result) == 1
    text = summary(result, bench.settings())
    assert "5 rows: 3 extracted, 2 failed" in text
    assert "1 x malformed JSON; the first: line 3: JSON is malformed" in text
    assert "--retry-failed" in text


def test_an_over_long_document_fails_alone(bench, scripted) -> None:
    bench.write_input(lines(1) + json.dumps({"id": "long", "text": "x" * 2000}) + "\n" + lines(1))
    bench.run(scripted(number_in, context_tokens=1500))
    rows = bench.rows()
    assert rows[1]["error"]["kind"] == "too long"
    assert "line 2: the prompt has" in rows[1]["error"]["reason"]
    assert [rows[0], rows[2]] == expected(1) * 2


def test_an_answer_gets_the_room_its_prompt_leaves(bench, scripted) -> None:
    bench.write_input(json.dumps({"text": "x" * 600 + " 5"}))
    client = scripted(number_in, context_tokens=1200)
    bench.run(client)
    assert [call.max_tokens for call in client.calls] == [600, None]
    assert bench.rows() == [{"id": 1, "result": {"n": 5}}]


def test_max_tokens_asked_for_are_not_lowered(bench, scripted) -> None:
    bench.write_input(json.dumps({"text": "x" * 600}))
    client = scripted(number_in, context_tokens=1200)
    bench.run(client, options=Options(max_tokens=600))
    assert "max_tokens is 600" in bench.rows()[0]["error"]["reason"]
    assert len(client.calls) == 1


def test_results_are_kept_to_the_letter(bench, scripted) -> None:
    bench.write_input(lines(1))
    bench.run(scripted(lambda prompt: '{\n "n": 1.0, "m": 12345678901234567890123, "s": "\\ud800\\n\u2028ä"\n}\n'))
    raw = bench.output.read_text("utf-8")
    assert raw == '{"id":"doc-0","result":{  "n": 1.0, "m": 12345678901234567890123, "s": "\\ud800\\n\u2028ä" }}\n'


def test_what_is_not_json_is_an_error_row(bench, scripted) -> None:
    bench.write_input(lines(2))
    bench.run(scripted(lambda prompt: '{"n":NaN}' if "text 0" in prompt else "sorry"))
    assert [row["error"]["kind"] for row in bench.rows()] == ["answer is not JSON"] * 2
    assert "'sorry'" in bench.rows()[1]["error"]["reason"]


def test_failures_of_calls_name_their_rows(bench, scripted) -> None:
    def script(prompt: str) -> str:
        if "text 1." in prompt:
            raise RootformError("out of luck", status=500)
        if "text 2." in prompt:
            raise ValueError("a bug")
        return number_in(prompt)

    bench.write_input(lines(4))
    bench.run(scripted(script))
    reasons = [row["error"]["reason"] for row in bench.rows()[1:3]]
    assert reasons == ["line 2: out of luck", "line 3: ValueError: a bug"]


def test_failed_rows_can_be_done_again_alone(bench, scripted) -> None:
    def unlucky(prompt: str) -> str:
        if "text 1." in prompt:
            raise RootformError("out of luck", status=500)
        return number_in(prompt)

    bench.write_input(lines(3))
    assert exit_code(bench.run(scripted(unlucky))) == 1
    assert bench.rows()[1]["error"]["kind"] == "failed"

    idle = scripted(number_in)
    again = bench.run(idle)
    assert (idle.asked, again.reused, exit_code(again)) == ([], 3, 1)

    client = scripted(number_in)
    result = bench.run(client, retry_failed=True)
    assert len(client.asked) == 1
    assert exit_code(result) == 0
    assert bench.rows() == expected(3)
    assert not bench.journal.exists()


def test_a_job_where_everything_fails_stops(bench, scripted) -> None:
    def dead(prompt: str) -> str:
        raise RootformError("the engine has died", status=500)

    bench.write_input(lines(200))
    client = scripted(dead)
    with pytest.raises(RootformError, match=r"stopped: 20 rows in a row failed.*the engine has died"):
        bench.run(client, concurrency=4)
    assert len(client.asked) < 40
    assert not bench.output.exists()
    assert exit_code(bench.run(scripted(number_in), retry_failed=True)) == 0
    assert bench.rows() == expected(200)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_server_that_is_away_for_a_while_costs_no_row(bench, scripted, status: int) -> None:
    away = {f"text {n}.": 3 for n in range(20)}  # times that each of the first twenty is still lost

    def script(prompt: str) -> str:
        document = prompt.rpartition("\n")[2]
        if away.get(document, 0):
            away[document] -= 1
            raise RootformError("cannot be reached", status=status)
        return number_in(prompt)

    bench.write_input(lines(40))
    assert exit_code(bench.run(scripted(script), concurrency=8)) == 0
    assert bench.rows() == expected(40)


def test_a_server_that_stays_away_stops_the_job_and_no_row_counts_as_failed(bench, scripted) -> None:
    answered: list[str] = []

    def script(prompt: str) -> str:
        if len(answered) == 10:
            raise RootformError("cannot be reached", status=503)
        answered.append(prompt)
        return number_in(prompt)

    bench.write_input(lines(30))
    with pytest.raises(RootformError, match=r"stopped: cannot be reached\n10 finished rows are safe.*same command"):
        bench.run(scripted(script), concurrency=1)
    result = bench.run(scripted(number_in))
    assert (result.reused, exit_code(result)) == (10, 0)
    assert bench.rows() == expected(30)


def test_what_a_job_reads_it_does_not_write_over(bench, scripted) -> None:
    bench.write_input(lines(2))
    prompt = bench.folder / "prompt.txt"
    prompt.write_text("Number: {document}")
    for read in (bench.input, bench.folder / "schema.json", prompt):
        before = read.read_bytes()
        with pytest.raises(RootformError, match="would be lost"):
            bench.run(scripted(number_in), output=read, prompt=prompt, overwrite=True)
        assert read.read_bytes() == before
    (bench.folder / "out.jsonl.journal").symlink_to(bench.input)
    with pytest.raises(RootformError, match="would be lost"):
        bench.run(scripted(number_in), restart=True)
    assert bench.input.read_text() == lines(2)


def test_a_device_is_not_replaced_by_a_file_and_a_link_stays_a_link(bench, scripted) -> None:
    bench.write_input(lines(2))
    pipe, link, target = (bench.folder / name for name in ("pipe", "link", "target"))
    os.mkfifo(pipe)
    with pytest.raises(RootformError, match="no ordinary file"):
        bench.run(scripted(number_in), output=pipe, overwrite=True)
    assert pipe.is_fifo()
    target.write_text("old\n")
    link.symlink_to(target)
    bench.run(scripted(number_in), output=link, overwrite=True)
    assert link.is_symlink()
    assert [json.loads(line) for line in target.read_bytes().splitlines()] == expected(2)


def test_long_documents_do_not_stop_a_job(bench, scripted) -> None:
    bench.write_input("".join(json.dumps({"text": "x" * 900}) + "\n" for _ in range(30)) + lines(1))
    result = bench.run(scripted(number_in, context_tokens=900))
    assert result.total is not None
    assert (result.total.failed, result.total.extracted) == (30, 1)


def test_an_interrupted_job_goes_on_where_it_was(bench, scripted) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupting(prompt: str) -> str:
        if "text 5." in prompt:
            signal.pthread_kill(main, signal.SIGINT)
            threading.Event().wait(0.05)
        return number_in(prompt)

    bench.write_input(lines(40))
    result = bench.run(scripted(interrupting), concurrency=2, window=1)
    assert exit_code(result) == 130
    assert "interrupted" in summary(result, bench.settings())
    assert not bench.output.exists()
    assert 0 < result.done < 40

    client = scripted(number_in)
    bench.run(client, concurrency=2)
    # An interrupt may fall between a row's line in the journal and its counting: that row is safe, and not asked again.
    assert len(client.asked) in (40 - result.done, 40 - result.done - 1)
    assert bench.rows() == expected(40)


def test_with_meta_every_row_tells_its_cost(bench, scripted) -> None:
    bench.write_input(lines(1))
    bench.run(scripted(number_in), with_meta=True)
    usage = {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 7, "forward_passes": 7}
    assert bench.rows() == [{"id": "doc-0", "result": {"n": 0}, "closed_early": False, "usage": usage}]


def test_an_output_that_is_not_ours_is_not_overwritten(bench, scripted) -> None:
    bench.write_input(lines(1))
    bench.output.write_text("precious")
    with pytest.raises(RootformError, match="exists already"):
        bench.run(scripted(number_in))
    assert bench.output.read_text() == "precious"
    bench.run(scripted(number_in), overwrite=True, keep_journal=True)
    assert bench.rows() == expected(1)
    bench.output.write_text("edited by hand")
    with pytest.raises(RootformError, match="exists already"):
        bench.run(scripted(number_in))
    assert bench.output.read_text() == "edited by hand"


def test_an_output_that_appears_meanwhile_is_not_overwritten(bench, scripted) -> None:
    def script(prompt: str) -> str:
        bench.output.write_text("precious")
        return number_in(prompt)

    bench.write_input(lines(1))
    with pytest.raises(RootformError, match="exists already"):
        bench.run(scripted(script))
    assert bench.output.read_text() == "precious"
    bench.output.unlink()
    client = scripted(number_in)
    bench.run(client)
    assert (client.asked, bench.rows()) == ([], expected(1))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"options": Options(temperature=0.5)}, "options"),
        ({"text_field": "id"}, "fields"),
    ],
)
def test_another_job_does_not_take_over_a_journal(bench, scripted, changes: dict, what: str) -> None:
    bench.write_input(lines(1) + "{\n")
    bench.run(scripted(number_in))
    with pytest.raises(RootformError, match=f"different: {what}"):
        bench.run(scripted(number_in), **changes)


def test_places_that_cannot_be_written_are_refused_before_a_model_is_loaded(bench, tmp_path: Path) -> None:
    from rootform.extract.job import run_job
    from rootform.extract.progress import NoProgress

    def no_model():
        pytest.fail("a model was loaded")

    bench.write_input(lines(1))
    for place, message in [("-", "no journal"), (tmp_path, "a folder"), (tmp_path / "no" / "out", "no folder")]:
        with pytest.raises(RootformError, match=message):
            run_job(bench.settings(output=Path(place)), no_model, NoProgress())
    (bench.folder / "schema.json").write_text(r'{"type": "string", "pattern": "(a)\\1"}')
    with pytest.raises(RootformError, match=r"cannot be enforced exactly:\n  #, 'pattern': "):
        run_job(bench.settings(), no_model, NoProgress())
    (bench.folder / "schema.json").write_text('{\n"type": }')
    with pytest.raises(RootformError, match=r"schema\.json, line 2, column 9: this is not JSON"):
        run_job(bench.settings(), no_model, NoProgress())


def test_fields_of_rows_in_the_prompt(bench, scripted) -> None:
    bench.write_input('{"text": "a", "who": "Ann"}\n{"text": "b"}\n')
    prompt = bench.folder / "prompt.txt"
    prompt.write_text("{who}: {document} 7\n")
    client = scripted(number_in)
    bench.run(client, prompt=prompt)
    assert client.asked == ["Ann: a 7"]
    assert bench.rows()[0] == {"id": 1, "result": {"n": 7}}
    assert "'who'" in bench.rows()[1]["error"]["reason"]


def test_csv_in_jsonl_out(bench, scripted) -> None:
    bench.write_input("id,text\na, 1\nb, 2\n", "in.csv")
    bench.run(scripted(number_in))
    assert bench.rows() == [{"id": "a", "result": {"n": 1}}, {"id": "b", "result": {"n": 2}}]


def test_an_empty_input_gives_an_empty_output(bench, scripted) -> None:
    bench.write_input("")
    result = bench.run(scripted(number_in))
    assert bench.output.read_bytes() == b""
    assert (exit_code(result), result.notes) == (0, ("the input holds no rows",))
