"""One document, its result readable line by line while it is generated."""

from __future__ import annotations

from collections.abc import Callable

from ..engine.types import Call, Completion, RootformError
from ..programs.client import Client
from .asking import Asker
from .stream_json import PrettyPrinter


def extract_one(client: Client, asker: Asker, document: str, write: Callable[[str], object]) -> Completion:
    """Extract one document; `write` gets each line of the laid-out JSON when it is complete.

    Raises what the call failed with; an interrupt cancels it.
    """
    call = asker.call(asker.prompt(document), document=document)
    try:
        return _stream(client, call, write)
    except RootformError as error:  # a refusal: nothing was written yet
        other = asker.again(call, error)
        if other is None:
            raise
    return _stream(client, other, write)


def _stream(client: Client, call: Call, write: Callable[[str], object]) -> Completion:
    job, printer = client.submit(call), PrettyPrinter()
    try:
        for delta in job:
            if lines := printer.feed(delta.text):
                write(lines)
    except BaseException:
        job.cancel()
        raise
    write(printer.finish())
    return job.result()
