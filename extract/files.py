"""Text files that a command line names."""

from __future__ import annotations

from pathlib import Path

from ..engine.types import RootformError


def read_text(path: Path, what: str) -> str:
    """The text of a file, without a byte order mark. what: the file is called so, before its path, in messages.

    Raises RootformError when it cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RootformError(f"{what} {path}: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise RootformError(f"{what} {path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
