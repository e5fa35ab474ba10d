"""Arrows between rooms point one way, and the two pure rooms stay pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("radix", "grammar", "engine", "programs", "extract", "server", "sprout", "examples")
MAY_IMPORT = {
    "radix": set(),
    "grammar": set(),
    "engine": {"radix", "grammar"},
    "programs": {"engine", "grammar"},
    "extract": {"engine", "grammar", "programs", "examples"},
    "server": {"engine", "grammar"},
    "sprout": {"engine", "grammar"},
    "examples": set(),
}
PURE = {"radix", "grammar"}
HEAVY = {"torch", "transformers", "starlette", "uvicorn", "httpx"}


def imported_names(file: Path) -> Iterator[str]:
    """The rooms (by relative or absolute import) and outside packages that a file imports anywhere in it."""
    depth = len(file.relative_to(ROOT).parts) - 1  # folders above the file, below the package
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (inside(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield inside(node.module or "")
            elif node.level == depth + 1:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                yield from (name.split(".")[0] for name in names if name)


def inside(name: str) -> str:
    """The first part of a dotted name, without the package's own name."""
    parts = name.split(".")
    return parts[1] if parts[0] == "rootform" and len(parts) > 1 else parts[0]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"{room}/ holds no code"
    for file in files:
        wrong = set(imported_names(file)) & (set(ROOMS) - MAY_IMPORT[room] - {room})
        allowed = sorted(MAY_IMPORT[room])
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}; {room}/ may import {allowed}"


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_import_nothing_heavy(room: str) -> None:
    for file in sorted((ROOT / room).rglob("*.py")):
        heavy = set(imported_names(file)) & HEAVY
        assert not heavy, f"{file.relative_to(ROOT)} imports {sorted(heavy)}; {room}/ knows no model and no network"


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    sample = ROOT / "engine" / "types.py"
    assert "grammar" in set(imported_names(sample))
