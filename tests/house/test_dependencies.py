"""What the package asks to be installed is what it imports: no more, no less."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("radix", "grammar", "engine", "programs", "extract", "server", "sprout", "examples")

# import name -> the package that is asked for and brings it
OF = {
    "prometheus_client": "prometheus-client",
    "outlines_core": "outlines-core",
    "huggingface_hub": "transformers",
    "jsonschema_specifications": "jsonschema",
    "referencing": "jsonschema",
}
OPTIONAL = {"pydantic"}  # imported where a caller's own type is one of its
ORACLE = {"interegular"}  # tests alone import it; the project is to be made with it


def imported_packages() -> set[str]:
    files = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return {OF.get(name, name) for name in names - sys.stdlib_module_names - {"rootform"}}


def asked_for() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[<>=; ]", each)[0] for each in project["dependencies"]}


def test_dependencies_are_what_is_imported() -> None:
    assert imported_packages() - OPTIONAL == asked_for() - ORACLE


def test_every_dependency_has_its_reason() -> None:
    told = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in asked_for() if name not in told} == set()
