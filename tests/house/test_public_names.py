"""What `import rootform` promises."""

import subprocess
import sys

import pytest

import rootform

PUBLIC = {
    *("Call", "Choice", "Completion", "Engine", "Grammar", "HttpClient", "JsonObject", "JsonSchema"),
    *(
        "Message",
        "Regex",
        "RootformError",
        "Sampling",
        "StructuralTag",
        "assistant",
        "gen",
        "join",
        "program",
        "select",
        "system",
        "user",
    ),
}


def test_the_public_names_are_exactly_these() -> None:
    assert set(rootform.__all__) == PUBLIC


def test_every_public_name_can_be_loaded() -> None:
    assert all(getattr(rootform, name) is not None for name in PUBLIC)


def test_a_shell_completes_names_that_are_not_loaded_yet() -> None:
    code = "import sys, rootform; sys.exit('Engine' not in dir(rootform) or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_package_or_the_http_client_does_not_load_torch() -> None:
    code = "import sys, rootform; rootform.HttpClient; rootform.gen; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(rootform, "nonsense")  # noqa: B009
