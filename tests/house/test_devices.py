"""The engine's tests run on a device wherever they run a model: `benchmarks.gpu --tests` finds them by their marker."""

import ast
from pathlib import Path

ENGINE = Path(__file__).parents[1] / "engine"
LOADERS = {"Engine", "from_parts", "load_model", "load_paged_model"}
DEVICES = {"device", "twins_or_card"}
"""Fixtures with a parameter that is marked cuda (tests/engine/conftest.py)."""

ON_THE_CPU = {
    "test_card.py": "what a card's memory is divided into, and devices that are not there",
    "test_compiling.py": "constraints being compiled; no token is computed",
    "test_determinism.py": "deterministic engines are the CPU's",
    "test_heads.py": "the CPU's output layer for few tokens",
    "test_model_loading.py": "the CPU's loader and what it refuses",
    "test_recompiling.py": "constraints compiled again at a start; no token is computed",
    "test_threads.py": "threads of the CPU",
}


def runs_a_model(tree: ast.AST) -> bool:
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(getattr(each, "id", getattr(each, "attr", None)) in LOADERS for each in called)


def runs_on_devices(file: Path, tree: ast.Module) -> bool:
    """Whether a function of the file takes a device, or a fixture that takes one."""
    beside = file.with_name("conftest.py")
    known = set(DEVICES)
    for each in (ast.parse(beside.read_text()), tree) if beside.exists() else (tree,):
        functions = [node for node in each.body if isinstance(node, ast.FunctionDef)]
        taking = [function.name for function in functions if known & {arg.arg for arg in function.args.args}]
        known |= set(taking)
    return bool(taking)


def test_who_runs_a_model_runs_it_on_devices() -> None:
    trees = {file: ast.parse(file.read_text()) for file in ENGINE.rglob("test_*.py")}
    without = {file.name for file, tree in trees.items() if runs_a_model(tree) and not runs_on_devices(file, tree)}
    told = "take the fixture `device`, or tell in ON_THE_CPU why there is nothing to test on another"
    assert not without - set(ON_THE_CPU), f"{sorted(without - set(ON_THE_CPU))} run models on the CPU alone: {told}"
    assert not set(ON_THE_CPU) - without, f"{sorted(set(ON_THE_CPU) - without)} need no excuse"
