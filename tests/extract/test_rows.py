"""What is read from JSON lines and CSV, and what is said about rows that cannot be."""

import csv
import gzip
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootform.engine.types import RootformError
from rootform.extract.records import BadRow, Format, open_source
from rootform.extract.rows import Fields, Row, read_rows, refuse_changed, survey


def read(folder: Path, data: bytes, fields: Fields, format: Format = "jsonl") -> list[Row | BadRow]:
    path = folder / "input"
    path.write_bytes(data)
    with open_source(str(path), format) as source:
        found = survey(source, fields)
        rows = list(read_rows(source, fields))
    assert found.rows == len(rows)
    assert [row.number for row in rows] == list(range(len(rows)))
    return rows


def refused(folder: Path, data: bytes, fields: Fields, format: Format = "jsonl") -> str:
    with pytest.raises(RootformError) as caught:
        read(folder, data, fields, format)
    return str(caught.value)


def bad(row: Row | BadRow) -> BadRow:
    assert isinstance(row, BadRow)
    return row


def good(row: Row | BadRow) -> Row:
    assert isinstance(row, Row)
    return row


def test_ids_are_kept_as_they_were_written(tmp_path: Path) -> None:
    ids = ["7", '"a"', "1.0", "12345678901234567890123", '{"b":[1]}', '"\\u00e4"', "null"]
    data = "".join(f'{{"id": {each}, "text": "x"}}\n' for each in ids).encode()
    assert [good(row).id for row in read(tmp_path, data, Fields())] == ids


def test_a_row_without_id_is_named_by_its_line(tmp_path: Path) -> None:
    rows = read(tmp_path, b'{"text": "a"}\n\n  \n{"text": "b"}', Fields())
    assert [(row.id, row.line) for row in rows] == [("1", 1), ("4", 4)]


def test_bad_lines_are_rows_with_a_reason_and_reading_goes_on(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b'{"text": "cut',
        b"[1]",
        b'{"txt": "other"}',
        b'{"id": "n", "text": 5}',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"text": "good too"}',
    ]
    rows = read(tmp_path, b"\n".join(lines), Fields())
    assert [good(rows[at]).text for at in (0, 8)] == ["good", "good too"]
    assert [(bad(row).kind, row.id) for row in rows[1:8]] == [
        ("malformed JSON", "null"),
        ("not a JSON object", "null"),
        ("missing field", "4"),
        ("document is not text", '"n"'),
        ("not UTF-8", "null"),
        ("malformed JSON", "null"),
        ("malformed JSON", "null"),
    ]
    assert "line 4: there is no field 'text'; the fields are 'txt'" in bad(rows[3]).reason
    offset = sum(len(line) + 1 for line in lines[:5]) + lines[5].index(b"\xff")
    assert bad(rows[5]).reason.startswith(f"line 6: byte 0xff at offset {offset} of the file is not UTF-8")


def test_fields_of_the_prompt_come_as_text(tmp_path: Path) -> None:
    rows = read(tmp_path, b'{"text": "t", "who": "Ann", "n": 1.50, "l": ["a"]}', Fields(prompt=("who", "n", "l")))
    assert good(rows[0]).fields == {"who": "Ann", "n": "1.50", "l": '["a"]'}


def test_a_field_that_no_row_has_is_refused_before_work(tmp_path: Path) -> None:
    message = refused(tmp_path, b'{"body": "t"}\n{"body": "u"}', Fields())
    assert "no row has a field 'text'" in message
    assert "'body'" in message
    assert "--text-field" in message
    assert "no row has a field 'who'" in refused(tmp_path, b'{"text": "t"}', Fields(prompt=("who",)))


def test_byte_order_marks(tmp_path: Path) -> None:
    assert good(read(tmp_path, b'\xef\xbb\xbf{"text": "t"}', Fields())[0]).text == "t"
    assert good(read(tmp_path, b"\xef\xbb\xbftext\nt", Fields(), "csv")[0]).text == "t"
    assert "UTF-16" in refused(tmp_path, '{"text": "t"}'.encode("utf-16"), Fields())
    assert "UTF-16" in refused(tmp_path, "text\nt".encode("utf-16"), Fields(), "csv")


def test_an_input_that_grows_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "t"}\n')
    with open_source(str(path)) as source:
        found = survey(source, Fields())
        refuse_changed(source, found)
        with path.open("a") as file:
            file.write('{"text": "u"}\n')
        with pytest.raises(RootformError, match="changed while it was read"):
            refuse_changed(source, found)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(RootformError, match=r"none\.jsonl: cannot be read: No such file"), open_source("none.jsonl"):
        pass
    with pytest.raises(RootformError, match="this is a folder; give a file of JSON lines"), open_source(str(tmp_path)):
        pass


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(cells, cells), max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_csv_written_by_the_csv_module_is_read_back(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("id", "text"), *pairs])
    rows = read(tmp_path, text.getvalue().encode(), Fields(), "csv")
    assert [(json.loads(row.id), good(row).text) for row in rows] == pairs


def test_csv_lines_are_those_of_the_file(tmp_path: Path) -> None:
    rows = read(tmp_path, b'text,who\n"two\nlines",a\n\nshort\nb,c\n', Fields(prompt=("who",)), "csv")
    assert [row.line for row in rows] == [2, 5, 6]
    assert good(rows[0]).fields == {"who": "a"}
    assert bad(rows[1]).reason == "line 5: 1 cells, but the header names 2 columns"
    assert good(rows[2]).text == "b"


def test_a_csv_row_with_a_stray_quote_is_a_bad_row(tmp_path: Path) -> None:
    rows = read(tmp_path, b'text\na\n"b" c\nd\n', Fields(), "csv")
    assert [type(row) for row in rows] == [Row, BadRow, Row]
    assert bad(rows[1]).reason.startswith("line 3: ")


def test_csv_that_cannot_be_taken_apart_is_refused_before_work(tmp_path: Path) -> None:
    assert "line 3: a quote opened" in refused(tmp_path, b'text\na\n"b\nc\nd\n', Fields(), "csv")
    assert "line 2: byte 0xe9 at offset 6" in refused(tmp_path, b"text\na\xe9\n", Fields(), "csv")
    assert "two columns are called 'a'" in refused(tmp_path, b"a,a\n1,2\n", Fields(text="a"), "csv")
    assert "must name the columns" in refused(tmp_path, b"", Fields(), "csv")


def test_a_long_cell_is_read_whole(tmp_path: Path) -> None:
    rows = read(tmp_path, b"text\n" + b"x" * 300_000, Fields(), "csv")
    assert len(good(rows[0]).text) == 300_000


@pytest.mark.parametrize(
    ("data", "format", "says"),
    [
        (b'[{"text": "t"},\n {"text": "u"}]\n', "jsonl", r"no row can be read; line 1: .*jq -c '\.\[\]'"),
        (b"We want 3 chairs.\nThanks\n", "jsonl", "no row can be read; line 1: "),
        (b"a;b,c\n1\n", "csv", "no row can be read; line 2: 1 cells"),
        (b"PAR1\x15\x04", "jsonl", "a Parquet file; write its rows as JSON lines"),
        (b"PK\x03\x04\x14", "csv", "a ZIP archive"),
        (b"%PDF-1.7\n", "jsonl", "a PDF; extract its text first"),
        (b"id;text\n1;two\n", "csv", "no row has a field 'text'.*say so with --delimiter ';'"),
        (b"id\ttext\n1\ttwo\n", "csv", "say so with --format tsv"),
    ],
)
def test_what_would_fail_in_every_row_is_refused_before_work(
    tmp_path: Path, data: bytes, format: Format, says: str
) -> None:
    assert re.search(says, refused(tmp_path, data, Fields(), format))


def test_an_id_field_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    assert "--id-field" in refused(tmp_path, b'{"text": "t"}', Fields(id="no"))
    rows = read(tmp_path, b'{"text": "t"}\n{"text": "t", "no": 7}', Fields(id="no"))
    assert [row.id for row in rows] == ["1", "7"]


def test_cells_between_other_delimiters(tmp_path: Path) -> None:
    rows = read(tmp_path, b"id\ttext\n1\ta,b\n", Fields(), "tsv")
    assert (rows[0].id, good(rows[0]).text) == ('"1"', "a,b")
    path = tmp_path / "in.csv"
    path.write_text("id;text\n1;a,b\n")
    with open_source(str(path), delimiter=";") as source:
        assert good(next(read_rows(source, Fields()))).text == "a,b"
    with pytest.raises(RootformError, match="--delimiter is about CSV"), open_source("in.jsonl", delimiter=";"):
        pass


def test_packed_files_are_unpacked_and_named_by_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\n1,two\n"))
    with open_source(str(path)) as source:
        assert survey(source, Fields()).rows == 1
        assert good(next(read_rows(source, Fields()))).text == "two"
    for damaged in (path.read_bytes()[:-12], path.read_bytes()[:12] + b"\x00" * 40):
        path.write_bytes(damaged)
        with pytest.raises(RootformError, match="the gzip file is damaged"), open_source(str(path)):
            pass
