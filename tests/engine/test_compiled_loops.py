"""That opening an engine compiles its loops, and no request has to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_COUNT = """
import json, sys
import numba.core.dispatcher as dispatcher
from rootform import Engine

def made():
    modules = [module for name, module in sys.modules.items() if name.startswith("rootform.engine")]
    loops = {f"{module.__name__}.{name}": each for module in modules for name, each in vars(module).items()
             if isinstance(each, dispatcher.Dispatcher)}
    return {name: sorted(map(str, each.signatures)) for name, each in loops.items()}

with Engine(sys.argv[1], dtype=sys.argv[2]) as engine:
    before = made()
    engine.generate("ab", max_tokens=4)
    engine.generate("ab", max_tokens=6, regex="[a-z]{3}[0-9]")
    engine.generate(["ab", "abc", "b" * 40], max_tokens=20, choice=["yes", "no"], temperature=1.0, seed=1)
    engine.generate(["ab" * 20 + end for end in "xyz"], max_tokens=20, regex=".{5,30}")
    after = made()
print(json.dumps({"before": before, "new": {name: after[name] for name in after if after[name] != before[name]}}))
"""


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_no_loop_is_compiled_in_a_request(tiny_model: Path, dtype: str) -> None:
    command = [sys.executable, "-c", _COUNT, str(tiny_model), dtype]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert sum(map(len, told["before"].values())) > 5
    assert told["new"] == {}
