"""Machine code on disk: never that of other sources, made once, found where nothing can be written."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootform.engine import loops
from rootform.grammar import machine_code
from rootform.grammar.machine_code import MachineCode

_PACKAGE = {
    "__init__.py": "",
    "g_kernels.py": """
from .machine_code import compiled
@compiled
def g(x):
    return x * 1000 + 1
""",
    "f_kernels.py": """
from .g_kernels import g
from .machine_code import compiled, compiled_as
@compiled
def f(x):
    return g(x) + g(x + 1)
@compiled_as("int64(int64)")
def again(x):
    return again(x - 1) + g(x) if x > 0 else 0
""",
}
_ALL = """
from room import f_kernels as k, g_kernels as m
said = k.f(3), k.f(3.0), k.again(4)
print(*said, sum(sum(each.stats.cache_misses.values()) for each in (k.f, k.again, m.g)))
"""
_PIECES = 5
_OLD, _NEW = "7002 7002.0 10004", "7004 7004.0 10008"
_AND_LATER = "from room import f_kernels as k\nprint('ready', flush=True); input()\nprint(k.f(3), k.f(3.0))"


class Room:
    """A package with two modules of kernels and the machine code beside them; each process is one of its users."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "room"
        self.beside = self.folder / "__pycache__"
        self.home = folder / "home"
        self.folder.mkdir()
        for name, text in _PACKAGE.items():
            (self.folder / name).write_text(text)
        (self.folder / "machine_code.py").write_text(Path(machine_code.__file__).read_text())
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "NUMBA", "PYTHON"))}
        self._environment = {**kept, "HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}

    def begin(self, code: str, **environment: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command, environment = [sys.executable, "-c", code], {**self._environment, **environment}
        return subprocess.Popen(
            command, cwd=self.folder.parent, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def says(self, code: str = _ALL, **environment: str) -> str:
        return end(self.begin(code, **environment))[0]

    def change(self) -> None:
        file = self.folder / "g_kernels.py"
        file.write_text(file.read_text().replace("1000 + 1", "1000 + 2"))


def end(process: subprocess.Popen[str], given: str = "") -> tuple[str, str]:
    """What it says, and what it warns of."""
    out, error = process.communicate(given, timeout=300)
    assert process.returncode == 0, error
    return out.strip(), error


def pieces(folder: Path) -> set[Path]:
    return set(folder.rglob("*.code"))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_processes_that_begin_at_once_make_each_piece_once(room: Room) -> None:
    said = [end(each)[0].rpartition(" ") for each in [room.begin(_ALL) for _ in range(2)]]
    assert {results for results, _, _ in said} == {_OLD}
    assert sum(int(made) for _, _, made in said) == _PIECES
    assert len(pieces(room.beside)) == _PIECES


def test_a_process_of_older_sources_keeps_nothing_for_new_ones(room: Room) -> None:
    """It defined its functions before a source of what they call was changed, and compiles them after."""
    process = room.begin(_AND_LATER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    old = pieces(room.beside)
    room.change()
    room.says("from room import f_kernels")
    new = pieces(room.beside)
    assert old
    assert not old & new, "the old ones are gone"
    assert end(process, "\n")[0] == "7002 7002.0", "it goes on as it began"
    assert pieces(room.beside) == new
    assert room.says().startswith(_NEW)


def test_where_nothing_can_be_written_beside_the_sources_it_is_kept_for_the_user(room: Room) -> None:
    room.beside.write_text("no folder")
    assert room.says() == f"{_OLD} {_PIECES}"
    assert len(pieces(room.home)) == _PIECES
    room.beside.unlink()
    assert room.says() == f"{_OLD} 0", "it is found there, though there is room beside the sources now"
    shutil.rmtree(room.home)
    room.home.write_text("no folder")
    room.beside.write_text("no folder")
    assert room.says() == f"{_OLD} {_PIECES}"


def test_a_folder_of_the_user_s_own_comes_first_and_damaged_pieces_are_made_anew(room: Room, tmp_path: Path) -> None:
    given = tmp_path / "given"
    assert room.says(NUMBA_CACHE_DIR=str(given)) == f"{_OLD} {_PIECES}"
    assert len(pieces(given)) == _PIECES
    assert not pieces(room.beside)
    short, changed, *_ = sorted(pieces(given))
    data = changed.read_bytes()
    short.write_bytes(short.read_bytes()[:-1])
    damaged = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    changed.write_bytes(damaged)
    out, warned = end(room.begin(_ALL, NUMBA_CACHE_DIR=str(given)))
    assert out == f"{_OLD} 2"
    assert str(short) in warned
    assert str(changed) in warned
    assert changed.read_bytes() != damaged


def test_pieces_are_written_while_the_sources_are_the_same_alone(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("1")
    code = MachineCode([file])
    file.write_text("1")  # at another time, the same
    code.write("a.code", b"a")
    assert code.read("a.code") == b"a"
    file.write_text("2")
    code.write("b.code", b"b")
    assert code.read("b.code") is None
    assert MachineCode([file]).read("a.code") is None
    file.unlink()
    code.write("c.code", b"c")
    assert code.read("c.code") is None
    assert code.read("a.code") == b"a"


def _sources(code: MachineCode) -> Iterator[Path]:
    yield from code._sources


@pytest.mark.parametrize("code", [machine_code._CODE, loops._CODE], ids=["grammar", "engine"])
def test_what_decides_machine_code_is_among_the_sources_it_is_named_by(code: MachineCode) -> None:
    """Whatever a compiled function names of the modules beside it: functions that it calls, constants."""
    sources = {file.stem: ast.parse(file.read_text()) for file in _sources(code)}
    where = next(_sources(code)).parent
    for name, tree in sources.items():
        used = {
            each.id
            for function in tree.body
            if isinstance(function, ast.FunctionDef) and function.decorator_list
            for each in ast.walk(ast.Module(function.body, []))
            if isinstance(each, ast.Name)
        }
        for statement in ast.walk(tree):
            if isinstance(statement, ast.ImportFrom) and statement.level == 1 and statement.module:
                named = {alias.asname or alias.name for alias in statement.names}
                assert not named & used or statement.module in sources, f"{where / name}.py: {statement.module}"


def test_machine_code_is_to_be_made_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "derivative_kernels.py"
    file.write_text("1")
    monkeypatch.setattr(machine_code, "_CODE", code := MachineCode([file]))
    assert machine_code.is_to_be_made()
    code.write("derivative_kernels.derive-5.code", b"code")
    assert not machine_code.is_to_be_made()
