"""The output file: complete and in the order of the input, or not there at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ..engine.types import RootformError
from .journal import Journal
from .outcome import Extras, output_line
from .tally import Total


def journal_path(output: Path) -> Path:
    """Where the journal of an output lies."""
    return output.with_name(output.name + ".journal")


def check_place(output: Path, overwrite: bool, read: Iterable[Path] = ()) -> None:
    """Refuse, before any work, an output that cannot be written, or a file that is nobody's to overwrite.

    read: files that the job reads, which it never writes over, whatever `overwrite` says.
    """
    if str(output) == "-":
        raise RootformError("--output -: results cannot go to standard output, which has no journal; name a file")
    if output.is_dir():
        raise RootformError(f"output {output}: this is a folder; name a file in it")
    if output.exists() and not output.is_file():
        raise RootformError(f"output {output}: this is no ordinary file, and would be replaced by one; name a file")
    for path in read:
        if any(each.exists() and path.exists() and path.samefile(each) for each in (output, journal_path(output))):
            raise RootformError(f"output {output}: this job reads {path}, which would be lost; choose another --output")
    if not output.parent.is_dir():
        raise RootformError(f"output {output}: there is no folder {output.parent}; make it, or choose another --output")
    partial = _partial(output)
    try:
        partial.open("ab").close()
        partial.unlink()
    except OSError as error:
        raise RootformError(f"output {output}: cannot be written: {error.strerror}; choose another --output") from None
    if output.exists() and not overwrite and not journal_path(output).exists():
        raise _exists(output)


def check_ours(output: Path, journal: Journal, overwrite: bool) -> None:
    """Refuse to replace a file that this journal's job did not write."""
    if output.exists() and not overwrite and _digest(output) not in journal.written:
        raise _exists(output)


def write_output(output: Path, journal: Journal, extras: Extras) -> Total:
    """Write every outcome to a file beside `output`, then give it its name in one step."""
    total, digest = Total(), hashlib.sha256()
    partial = _partial(output)
    try:
        with partial.open("wb") as file:
            for outcome in journal.outcomes():
                line = output_line(outcome, extras)
                file.write(line)
                digest.update(line)
                total.count(outcome)
            file.flush()
            os.fsync(file.fileno())
        journal.record_written(digest.hexdigest())
        target = output.resolve()  # where the output is a link, what it points to is replaced, and not the link
        partial.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RootformError(
            f"output {output}: cannot be written: {error.strerror}; all {journal.done} rows are safe in "
            f"{journal.path}: make room, then run the same command again"
        ) from None
    return total


def _partial(output: Path) -> Path:
    """The output until it is complete: in the folder where it will lie, so that one step moves it there."""
    target = output.resolve()
    return target.with_name(f".{target.name}.partial")


def _exists(output: Path) -> RootformError:
    return RootformError(
        f"output {output} exists already, and not from a job that is being continued; choose another --output, "
        "or replace it with --overwrite"
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.sha256).hexdigest()


def _sync_folder(folder: Path) -> None:
    """The new name itself reaches the disk."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
