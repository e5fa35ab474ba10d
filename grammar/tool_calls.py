"""Tool calls as models write them: structural tags that ask for them, and reading them back out of the text.

The ways of writing are those that the models' own chat templates show (Hermes and Qwen, Llama 3, Mistral, DeepSeek),
with the arguments as JSON that the tool's schema accepts. Tags are in XGrammar's form (`structural_types`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from .constraints import Spacing, StructuralTag
from .errors import GrammarError

ToolFormat = Literal["hermes", "llama3", "mistral", "mistral_v11", "deepseek_v3", "deepseek_v3_1"]
"""How a model writes calls. hermes: also Qwen 2.5 and 3. mistral: tokenizers up to v7. deepseek_v3: also R1."""

ToolChoice = Literal["auto", "required", "none"]

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class Tool(msgspec.Struct, frozen=True):
    """A function to be called. parameters: the JSON Schema of its arguments, an object, as JSON text."""

    name: str
    parameters: str


class ToolCall(msgspec.Struct, frozen=True):
    """One call. arguments: JSON text. id: what its answer names it by; models write none."""

    name: str
    arguments: str
    id: str = ""


class _Form(NamedTuple):
    """trigger: what in free text begins a call, or a section of calls, that begins and ends with opening and closing.

    before, between and after: around the name and the arguments of a call. separator: between two calls.
    """

    trigger: str
    before: str
    between: str
    after: str
    separator: str
    opening: str = ""
    closing: str = ""


_DEEPSEEK = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_FORMS: dict[ToolFormat, _Form] = {
    "hermes": _Form("<tool_call>", '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", "\n"),
    "llama3": _Form('{"name": ', '{"name": "', '", "parameters": ', "}", "; "),
    "mistral": _Form("[TOOL_CALLS]", '{"name": "', '", "arguments": ', "}", ", ", "[TOOL_CALLS][", "]"),
    "mistral_v11": _Form("[TOOL_CALLS]", "[TOOL_CALLS]", "[ARGS]", "", ""),
    "deepseek_v3": _Form(
        _DEEPSEEK[0],
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        "\n```json\n",
        "\n```<｜tool▁call▁end｜>",
        "\n",
        *_DEEPSEEK,
    ),
    "deepseek_v3_1": _Form(
        _DEEPSEEK[0], "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "", *_DEEPSEEK
    ),
}


def format_of_template(template: str) -> ToolFormat | None:
    """How the model of a chat template writes calls; None: the template shows none that is known."""
    if "[TOOL_CALLS]" in template:
        return "mistral_v11" if "[ARGS]" in template else "mistral"
    if _DEEPSEEK[0] in template:
        return "deepseek_v3" if "```json" in template else "deepseek_v3_1"
    if "<tool_call>" in template and "<function=" not in template:
        return "hermes"
    return "llama3" if '"parameters": ' in template and "<|start_header_id|>" in template else None


def tool_tag(
    tools: Sequence[Tool],
    form: ToolFormat,
    choice: ToolChoice | Tool = "auto",
    *,
    parallel: bool = True,
    spacing: Spacing = "canonical",
) -> StructuralTag:
    """What a model may write that has these tools.

    choice: auto: free text with any calls in it; required: at least one call and no text; a tool: one call of it; none:
    text without calls. parallel: several calls. Raises GrammarError for names that cannot be written.
    """
    made = _FORMS[form]
    if isinstance(choice, Tool):
        tools, parallel = [choice], False
    for i, tool in enumerate(tools):
        if not _NAME.fullmatch(tool.name):
            reason = f"{tool.name!r} is no name for a tool"
            raise GrammarError(f"tools/{i}", "name", reason, "use up to 64 letters, digits, underscores and dashes")
    if not tools or choice == "none":
        return _tag({"type": "any_text", "excludes": [made.trigger]}, spacing)
    calls = [_call(made, tool) for tool in tools]
    apart = {"separator": made.separator, "at_least_one": True, "stop_after_first": not parallel}
    section: dict[str, Any] = {"type": "tags_with_separator", "tags": calls, **apart}
    if made.opening:
        section = {"type": "tag", "begin": made.opening, "content": section, "end": made.closing}
        calls = [section]
    if choice != "auto":
        return _tag(section, spacing)
    loop = {"triggers": [made.trigger], "tags": calls, "stop_after_first": not parallel}
    return _tag({"type": "triggered_tags", **loop}, spacing)


def _call(form: _Form, tool: Tool) -> dict[str, Any]:
    content = {"type": "json_schema", "json_schema": msgspec.Raw(tool.parameters.encode())}
    return {"type": "tag", "begin": form.before + tool.name + form.between, "content": content, "end": form.after}


def _tag(form: dict[str, Any], spacing: Spacing) -> StructuralTag:
    return StructuralTag(msgspec.json.encode({"type": "structural_tag", "format": form}).decode(), spacing)


class CallReader:
    """Takes text apart, piece by piece as it comes, into what is said and the calls that are made in it."""

    def __init__(self, form: ToolFormat) -> None:
        self._form = _FORMS[form]
        self._left = ""  # what is not told yet
        self._in_section = False

    def take(self, text: str) -> tuple[str, list[ToolCall]]:
        """What is said, and the calls that are complete, with another piece of text."""
        self._left += text
        said, calls = "", []
        while True:
            if not self._in_section:
                at = self._left.find(self._form.trigger)
                if at < 0:
                    held = _begun(self._left, self._form.trigger)
                    said += self._left[: len(self._left) - held]
                    self._left = self._left[len(self._left) - held :]
                    return said, calls
                said += self._left[:at]
                self._left = self._left[at:]
            found = self._next_call()
            if found is None:
                return said, calls
            calls += found

    def rest(self) -> str:
        """What is left when the text is over: of a call that was broken off, as it was written."""
        left, self._left, self._in_section = self._left, "", False
        return left

    def _next_call(self) -> list[ToolCall] | None:
        """The call, or the end of a section, that comes next; None: it is not complete yet."""
        form, text = self._form, self._left
        if not self._in_section and form.opening:
            if not text.startswith(form.opening):
                return None
            self._in_section, self._left = True, text[len(form.opening) :]
            return []
        for skipped in (form.closing, form.separator) if self._in_section else ():
            if skipped and text.startswith(skipped):
                self._in_section = skipped != form.closing
                self._left = text[len(skipped) :]
                return []
        if not text.startswith(form.before):
            return None
        name, between, rest = text[len(form.before) :].partition(form.between)
        if not between:
            return None
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            return None
        if not rest.startswith(form.after, end):
            return None
        self._left = rest[end + len(form.after) :]
        return [ToolCall(name, rest[:end])]


def _begun(text: str, trigger: str) -> int:
    """How many characters at the end of a text may begin a trigger."""
    return next((n for n in range(min(len(trigger) - 1, len(text)), 0, -1) if trigger.startswith(text[-n:])), 0)
