"""Where a model's files are: a local folder, or a name already in the local Hugging Face cache. Never the network."""

from __future__ import annotations

import json
from pathlib import Path

from .types import RootformError

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def model_folder(path: str | Path) -> Path:
    """The folder with config.json and weights for a path or a name. Raises RootformError that says what is missing."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = _cached_folder(str(path))
    if not (folder / "config.json").is_file():
        raise RootformError(f"{folder} has no config.json; give a folder written by save_pretrained", status=404)
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise RootformError(
            f"{folder} has a config.json but no weights ({' or '.join(_WEIGHTS)}); "
            "the download was not finished, or only the tokenizer was saved there",
            status=404,
        )
    return folder


def read_config(folder: Path) -> dict[str, object]:
    """config.json as it is. Raises RootformError when it is not a JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RootformError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise RootformError(f"{folder / 'config.json'} is not a JSON object")
    return config


def _cached_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise RootformError(
            f"no model {name!r}: there is no such folder, and no model of that name in the local Hugging Face cache; "
            f"rootform does not download models (`hf download {name}` does)",
            status=404,
        ) from error
