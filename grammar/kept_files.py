"""Files that carry something from one start to the next: whole or not at all, and checked before they are believed.

A file is a line that names its kind, a JSON header, data, and a checksum over all of it. The checksum guards against
accidents, not against somebody who may write to the folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_SUM_BYTES, _SIZE_BYTES = 32, 4


def write(file: Path, kind: bytes, header: dict[str, Any], data: bytes) -> bool:
    """Put a file in place of the one there, or leave that and say so in a warning.

    kind: a line that ends with a newline, other for each kind of files. Only the owner may read what is written.
    """
    written = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
            written.write(_packed(kind, {**header, "name": file.stem}, data))
        os.replace(written.name, file)
    except OSError as error:
        log.warning("%s could not be written: %s", file, error)
        if written is not None:
            with suppress(OSError):
                os.unlink(written.name)
        return False
    return True


def read(file: Path, kind: bytes, decode: Callable[[dict[str, Any], memoryview], T]) -> T | None:
    """What `decode` makes of header and data; None where there is no file, or, with a warning that names it, a bad one.

    decode: raises ValueError, KeyError or TypeError for what is not as it was written.
    """
    try:
        return decode(*_unpacked(file, kind, file.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s is not used: it cannot be read (%s)", file, error)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s is not used: %s", file, error)
    return None


def _packed(kind: bytes, header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    body = b"".join([kind, len(text).to_bytes(_SIZE_BYTES, "little"), text, data])
    return body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()


def _unpacked(file: Path, kind: bytes, packed: bytes) -> tuple[dict[str, Any], memoryview]:
    body, checksum = memoryview(packed)[:-_SUM_BYTES], packed[-_SUM_BYTES:]
    if bytes(body[: len(kind)]) != kind:
        raise ValueError(f"it does not begin with {kind.decode().strip()!r}, as files of this version do")
    if hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != checksum:
        raise ValueError("it is damaged")
    begin = len(kind) + _SIZE_BYTES
    end = begin + int.from_bytes(body[len(kind) : begin], "little")
    header: dict[str, Any] = json.loads(bytes(body[begin:end]))
    if header["name"] != file.stem:
        raise ValueError("it is of another vocabulary or version")
    return header, body[end:]
