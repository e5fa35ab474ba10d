"""Tool calls: what the tags accept, beside XGrammar's own; reading back what was written, however it is cut."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.compile import expression_of
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.tool_calls import CallReader, Tool, ToolCall, ToolFormat, format_of_template, tool_tag

FORMATS: tuple[ToolFormat, ...] = get_args(ToolFormat)
WEATHER = Tool("get_weather", '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
ADD = Tool("add", '{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"]}')
TOOLS = (WEATHER, ADD)
PARIS, THREE = '{"city": "Paris"}', '{"a": 1, "b": 2}'

ONE: dict[ToolFormat, str] = {  # as the models' chat templates write them
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "llama3": '{"name": "get_weather", "parameters": {"city": "Paris"}}',
    "mistral": '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    "mistral_v11": '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
    "deepseek_v3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek_v3_1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
    '{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
}
TWO: dict[ToolFormat, str] = {
    "hermes": ONE["hermes"] + '\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
    "llama3": ONE["llama3"] + '; {"name": "add", "parameters": {"a": 1, "b": 2}}',
    "mistral": ONE["mistral"][:-1] + ', {"name": "add", "arguments": {"a": 1, "b": 2}}]',
    "mistral_v11": ONE["mistral_v11"] + '[TOOL_CALLS]add[ARGS]{"a": 1, "b": 2}',
    "deepseek_v3": ONE["deepseek_v3"].removesuffix("<｜tool▁calls▁end｜>")
    + '\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{"a": 1, "b": 2}\n```'
    + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek_v3_1": ONE["deepseek_v3_1"].removesuffix("<｜tool▁calls▁end｜>")
    + '<｜tool▁call▁begin｜>add<｜tool▁sep｜>{"a": 1, "b": 2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
}
CALLS = [ToolCall("get_weather", PARIS), ToolCall("add", THREE)]


def accepts(tag: object, text: str) -> bool:
    return POOL.fullmatch(expression_of(tag), text.encode())  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMATS)
def test_what_each_choice_lets_through(form: ToolFormat) -> None:
    auto, required = tool_tag(TOOLS, form), tool_tag(TOOLS, form, "required")
    named, none = tool_tag(TOOLS, form, WEATHER), tool_tag(TOOLS, form, "none")
    single = tool_tag(TOOLS, form, "required", parallel=False)
    one, two, said = ONE[form], TWO[form], "It is sunny."
    assert [accepts(tag, one) for tag in (auto, required, named, single, none)] == [True] * 4 + [False]
    assert [accepts(tag, two) for tag in (auto, required, named, single, none)] == [True, True, False, False, False]
    assert [accepts(tag, said) for tag in (auto, required, named, single, none)] == [True, False, False, False, True]
    assert [accepts(tag, said + one) for tag in (auto, required)] == [True, False]
    wrong = [one.replace("Paris", "Par\nis"), one.replace("city", "town"), one.replace("get_weather", "get_time")]
    assert not any(accepts(tag, text) for tag in (auto, required, named) for text in wrong)
    assert not accepts(named, two.replace("get_weather", "add"))


@pytest.mark.parametrize(("form", "model"), [("hermes", "qwen_3"), ("llama3", "llama"), ("deepseek_v3_1",) * 2])
def test_xgrammar_writes_the_same_tags(form: ToolFormat, model: str) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    given = {"name": WEATHER.name, "parameters": json.loads(WEATHER.parameters)}
    theirs = xgrammar.get_model_structural_tag(
        model, tools=[{"type": "function", "function": given}], tool_choice="required", reasoning="disabled"
    )
    wanted = _begins_and_ends(theirs.model_dump_json())
    assert wanted
    assert wanted <= _begins_and_ends(tool_tag([WEATHER], form, "required").tag)


def _begins_and_ends(tag: str) -> set[str]:
    """Every begin and end of a tag in it that names the tool."""
    found, todo = set(), [json.loads(tag)]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if "begin" in item and "get_weather" in item["begin"]:
                found |= {item["begin"], item["end"] if isinstance(item["end"], str) else item["end"][0]}
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return found


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_was_written_is_read_back_however_it_is_cut(form: ToolFormat, data: st.DataObject) -> None:
    said, calls = data.draw(
        st.sampled_from([("", CALLS), ("Let me see. ", CALLS), ("a [TOOL <tool {", []), ("Hi", CALLS[:1])])
    )
    text = said + {0: "", 1: ONE[form], 2: TWO[form]}[len(calls)]
    reader, heard, found, at = CallReader(form), "", [], 0
    while at < len(text):
        end = at + data.draw(st.integers(1, 30))
        more, new = reader.take(text[at:end])
        heard, found, at = heard + more, found + new, end
    heard += reader.rest()
    assert found == calls
    assert heard.strip("\n; ") == said.strip()


def test_a_call_that_is_broken_off_is_left_as_text() -> None:
    reader = CallReader("hermes")
    assert reader.take('So: <tool_call>\n{"name": "add", "arguments": {"a": 1') == ("So: ", [])
    assert reader.rest() == '<tool_call>\n{"name": "add", "arguments": {"a": 1'
    assert reader.rest() == ""


def test_arguments_that_look_like_calls_are_arguments() -> None:
    arguments = json.dumps({"city": 'x}\n</tool_call><tool_call>{"name": '})
    text = ONE["hermes"].replace(PARIS, arguments)
    assert accepts(tool_tag(TOOLS, "hermes"), text)
    assert CallReader("hermes").take(text) == ("", [ToolCall("get_weather", arguments)])


def test_templates_are_known_by_what_they_show() -> None:
    assert format_of_template("{{ '<tool_call>\\n' }}") == "hermes"
    assert format_of_template("{{ '[TOOL_CALLS]' }}") == "mistral"
    assert format_of_template("{{ '[TOOL_CALLS]' + name + '[ARGS]' }}") == "mistral_v11"
    assert format_of_template("<｜tool▁calls▁begin｜> ```json") == "deepseek_v3"
    assert format_of_template("<｜tool▁calls▁begin｜>") == "deepseek_v3_1"
    assert format_of_template("<|start_header_id|> {{ '\"parameters\": ' }}") == "llama3"
    assert format_of_template("{{ messages }}") is None


def test_names_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(GrammarError, match="is no name for a tool"):
        tool_tag([Tool('a"b', "{}")], "hermes")
    broken = tool_tag([Tool("f", '{"type": "strin"}')], "hermes")
    with pytest.raises(GrammarError, match="json_schema"):
        expression_of(broken)
