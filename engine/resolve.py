"""A model's name to the folder its files lie in."""

from __future__ import annotations

import re
from pathlib import Path

from .types import RootformError

SPROUT = "sprout"
_PACKAGED = Path(__file__).parent.parent / SPROUT / "model"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]


def resolve_model(model: str | Path) -> Path:
    """The folder of `model`: "sprout" (the bundled one), a folder, or a name on the Hugging Face Hub.

    A Hub model is downloaded unless it is in the local cache (HF_HUB_OFFLINE=1: only looked for there). Raises
    RootformError, status 404, when there is no such model.
    """
    name = str(model)
    if name == SPROUT:
        return _checked(_PACKAGED, "the bundled model is not there; install rootform from its wheel, or name another")
    folder = Path(model).expanduser()
    if folder.exists():
        return _checked(folder, "give a folder that transformers' save_pretrained wrote")
    if isinstance(model, str) and _HUB_NAME.fullmatch(name) and not name.startswith("."):
        return _from_hub(name)
    raise RootformError(
        f"model {name!r}: there is no such folder; give a folder with config.json, a Hugging Face name, or {SPROUT!r}",
        status=404,
        param="model",
    )


def _checked(folder: Path, advice: str) -> Path:
    if not (folder / "config.json").is_file():
        raise RootformError(f"model {folder}: no config.json in it; {advice}", status=404, param="model")
    return folder.resolve()


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's errors have no base of their own: network, missing, gated, bad name
        raise RootformError(
            f"model {name!r}: there is no such folder, and the Hugging Face Hub did not give it: {error}",
            status=404,
            param="model",
        ) from error
