"""What the README and docs/ say is there: options, fields, files, commands, code."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootform import cli_arguments
from rootform.server.openai_calls import NEUTRAL
from rootform.server.openai_types import ChatRequest, CompletionRequest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = "radix|grammar|engine|programs|extract|server|sprout|examples|benchmarks|tests|docs"
VERBS = dict.fromkeys(cli_arguments._VERBS, lambda given: 0)


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    (verbs,) = (each for each in cli_arguments.parser_of(VERBS)._actions if isinstance(each.choices, dict))
    assert isinstance(verbs.choices, dict)
    return verbs.choices


def blocks(page: Path, language: str) -> Iterator[str]:
    return (found[1] for found in re.finditer(rf"^```{language}\n(.*?)^```$", page.read_text(), re.S | re.M))


def commands() -> Iterator[tuple[str, str]]:
    """(where, command) of each line that calls rootform and says all of it."""
    texts = {page.name: page.read_text() for page in PAGES}
    texts |= {f"rootform {verb} --help": parser.description or "" for verb, parser in verb_parsers().items()}
    for where, text in texts.items():
        for line in text.splitlines():
            found = re.match(r"(?:    |\$ |next:  |       |  |.*\| )(rootform \w+ .*)", line)
            if found and not re.search(r"\[--|\.\.\.|\]", found[1]):
                yield where, found[1].split("   ")[0].partition(" < ")[0]


@pytest.mark.parametrize(("where", "command"), sorted(set(commands())))
def test_commands_are_such_as_can_be_given(where: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    cli_arguments.parser_of(VERBS).parse_args(words[1:])


def test_commands_are_found() -> None:
    found = [command.split()[1] for _, command in commands()]
    assert {"extract", "run", "check", "serve"} <= set(found)
    assert len(found) > 20


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_stands_in_a_page(verb: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    options = {name for action in verb_parsers()[verb]._actions for name in action.option_strings}
    missing = {name for name in options if not re.search(rf"{name}(?![\w-])", text)}
    assert missing <= {"-h", "--help"}


@pytest.mark.parametrize("kind", [ChatRequest, CompletionRequest])
def test_every_field_of_a_request_stands_in_its_page(kind: type) -> None:
    text = (ROOT / "docs" / "http.md").read_text()
    fields = set(kind.__struct_fields__) - NEUTRAL.keys()
    assert {name for name in fields if f"`{name}`" not in text and f"`{name}." not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(rf"`((?:{ROOMS})/[\w./-]+\.(?:py|md|json|jsonl))`", text))
    linked = set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing | {link for link in linked if not (page.parent / link).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_python_is_code(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, page.name, "exec")


def test_every_page_is_told_of() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    told = {page.name for page in PAGES if re.search(rf"(?<![\w-]){page.name}", text)}
    assert {page.name for page in PAGES} - told <= {"README.md"}
