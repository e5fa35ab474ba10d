"""Prompt templates."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.types import ModelInfo, RootformError
from rootform.extract.asking import Asker, Options
from rootform.extract.prompt import compact_json, default_template, parse_template, read_template


def test_names_and_doubled_braces() -> None:
    template = parse_template("{{x}} {schema}|{document}|{due date}{document}", "prompt p")
    assert template.fields == ("due date",)
    assert template.render("D {schema}", "S", {"due date": "now"}) == "{x} S|D {schema}|nowD {schema}"


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_written_with_doubled_braces(text: str) -> None:
    template = parse_template("{document}" + text.replace("{", "{{").replace("}", "}}"), "prompt p")
    assert template.render("", "", {}) == text


@pytest.mark.parametrize("wrong", ['{"a": 1}', "{}", "{document!r}", "{a[0]}", "{x:>5}", "{", "}", "{1}", "{a{b}}"])
def test_anything_but_a_name_is_refused_with_its_place(wrong: str) -> None:
    with pytest.raises(RootformError, match=r"prompt p, line 2, column 3: .*\{\{ and \}\}"):
        parse_template("{document}\n: " + wrong, "prompt p")


def test_a_prompt_without_the_document_is_refused() -> None:
    with pytest.raises(RootformError, match=r"\{document\} is missing"):
        parse_template("Say {schema}", "prompt p")


def test_a_file_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(RootformError, match="cannot be read: No such file"):
        read_template(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"{document} \xe9")
    with pytest.raises(RootformError, match="byte 11 is not UTF-8"):
        read_template(tmp_path / "latin")


def test_the_general_prompt_shares_everything_before_the_document() -> None:
    template = default_template(ModelInfo(name="m", context_tokens=10, has_chat_template=True))
    first, second = (template.render(text, "{}", {}) for text in ("one", "two"))
    assert first.removesuffix("one") == second.removesuffix("two")


def test_a_model_without_chat_template_is_told_where_the_answer_begins() -> None:
    info = ModelInfo(name="m", context_tokens=10, has_chat_template=False)
    asker = Asker.make(info, "{}", Options())
    call = asker.call(asker.prompt("doc"))
    assert isinstance(call.prompt, str)
    assert call.prompt.endswith("doc\n\nJSON:\n")
    assert call.messages is None


def test_the_models_own_prompt_is_used() -> None:
    info = ModelInfo(name="m", context_tokens=10, has_chat_template=True, extract_prompt="<{document}>")
    asker = Asker.make(info, "{}", Options())
    call = asker.call(asker.prompt("doc"))
    assert call.messages is not None
    assert call.messages[0].content == "<doc>"


def test_a_models_prompt_cannot_ask_for_fields_of_rows() -> None:
    info = ModelInfo(name="m", context_tokens=10, has_chat_template=True, extract_prompt="{document}{who}")
    with pytest.raises(RootformError, match=r"model m.*'who'"):
        default_template(info)


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5) | st.integers(), max_size=3), max_size=3))
@settings(max_examples=60, deadline=None)
def test_schemas_stand_compactly_in_prompts(value: object) -> None:
    compact = json.dumps(value, separators=(",", ":"))
    assert compact_json(json.dumps(value, indent=3)) == compact


def test_every_sampled_row_has_its_own_seed() -> None:
    info = ModelInfo(name="m", context_tokens=10, has_chat_template=True)
    asker = Asker.make(info, "{}", Options(temperature=0.5, seed=7))
    assert [asker.call("", number).sampling.seed for number in (0, 3)] == [7, 10]
    assert Asker.make(info, "{}", Options()).call("", 3).sampling.seed is None


def test_max_tokens_beyond_the_context_are_refused() -> None:
    info = ModelInfo(name="m", context_tokens=10, has_chat_template=True)
    with pytest.raises(RootformError, match="--max-tokens 10: model m has a context of 10 tokens"):
        Asker.make(info, "{}", Options(max_tokens=10))


def test_what_windows_editors_add_is_not_put_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes("\ufeffRead this.\r\n{document}\r\n".encode())
    assert read_template(path).render("D", "", {}) == "Read this.\nD"
