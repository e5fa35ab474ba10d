"""The pretty-printer against json.dumps, whatever the pieces it is fed."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.extract.stream_json import PrettyPrinter

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
spacings = st.sampled_from([{"separators": (",", ":")}, {"indent": 1}, {"separators": (" ,\n", " : ")}])


@given(values, spacings, st.booleans(), st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=60, deadline=None)
def test_it_lays_out_as_json_dumps_does(value: object, spacing: dict, ascii_only: bool, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, **spacing)
    places = [0, *sorted(cuts), len(text)]
    printer = PrettyPrinter()
    shown = "".join(printer.feed(text[start:stop]) for start, stop in pairwise(places))
    assert shown + printer.finish() == json.dumps(value, ensure_ascii=ascii_only, indent=2) + "\n"


def test_a_line_appears_as_soon_as_it_is_complete() -> None:
    printer = PrettyPrinter()
    pieces = ['{"a"', ':"x', '"', ',"b":[1', ",2", "]", "}"]
    assert [printer.feed(piece) for piece in pieces] == [
        "{\n",
        "",
        "",
        '  "a": "x",\n  "b": [\n',
        "    1,\n",
        "    2\n",
        "  ]\n",
    ]
    assert printer.finish() == "}\n"
    assert printer.finish() == ""
