"""The command line: each verb reads its arguments and calls one function in a room."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_arguments import ENGINE_OPTIONS, parser_of
from .engine.types import RootformError
from .grammar.errors import GrammarError

if TYPE_CHECKING:
    from rich.console import Console

    from .engine.api import Engine
    from .extract.asking import Options
    from .extract.job import Settings
    from .programs.client import Client

CANNOT, INTERRUPTED = 2, 130
_NO_WRAP = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; its exit code. What goes wrong for a known reason is one message on stderr, never a traceback."""
    given = parser_of(_VERBS).parse_args(arguments)
    try:
        with _terminable():
            return given.verb(given)
    except (RootformError, GrammarError) as error:
        print(f"rootform: {error}", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"rootform: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("rootform: interrupted", file=sys.stderr)
        return INTERRUPTED
    return CANNOT


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does: what is finished is kept and told of. A server has handlers of its own."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- the verbs ------------------------------------------------------------------------------------------------------


def _extract(given: argparse.Namespace) -> int:
    from .extract.job import run_job
    from .extract.progress import progress_on
    from .extract.report import exit_code, summary

    settings = _settings(given)
    progress = progress_on(sys.stderr, quiet=given.quiet)
    result = run_job(settings, lambda: _client(given, quiet=given.quiet, concurrency=given.concurrency), progress)
    if not given.quiet:
        print(summary(result, settings), file=sys.stderr)
    return exit_code(result)


def _run(given: argparse.Namespace) -> int:
    from .extract.asking import Asker
    from .extract.prompt import read_template
    from .extract.schema import enforceable_schema, refusals
    from .extract.single import extract_one

    options = _options(given)
    schema = enforceable_schema(given.schema, options.constraint)
    template = read_template(given.prompt) if given.prompt else None
    if template and template.fields:
        raise RootformError(f"prompt {given.prompt}: one document has no field {template.fields[0]!r}; leave it out")
    document = _standard_input() if given.text == "-" else given.text
    with closing(_client(given, quiet=True)) as client:
        asker = Asker.make(client.info, schema, options, template)
        completion = extract_one(client, asker, document, _print_now)
    if completion.closed_early:
        print("rootform: closed early at the token limit; the rest was cut short", file=sys.stderr)
    lenience = completion.lenience
    if lenience is not None and lenience.dropped:
        print(f"rootform: left out of what was enforced:\n{refusals(lenience.dropped)}", file=sys.stderr)
    if lenience is not None and not lenience.valid:
        print(f"rootform: the result is not valid: {lenience.reason}", file=sys.stderr)
        return 1
    return 0


def _check(given: argparse.Namespace) -> int:
    from .engine.resolve import SPROUT, resolve_model
    from .engine.token_files import read_tokens
    from .extract.check import SAMPLE_DOCUMENT, check_schema
    from .extract.files import read_text

    tokens = read_tokens(given.tokenizer) if given.tokenizer else read_tokens(resolve_model(SPROUT), SPROUT)
    return check_schema(
        given.schema,
        _options(given).constraint(""),
        _console_for_lines(),
        as_json=given.json,
        profiles=tuple(dict.fromkeys(given.profile or ())),
        tokens=tokens,
        document=read_text(given.document, "document") if given.document else SAMPLE_DOCUMENT,
    )


def _serve(given: argparse.Namespace) -> int:
    from .server.serve import bind, serve
    from .server.service import HttpLimits

    of_all = os.environ.get("ROOTFORM_API_KEY", "").strip()
    keys = given.api_key or ([of_all] if of_all else [])
    with bind(given.host, given.port) as listener, closing(_engine(given, quiet=False)) as engine:
        serve(
            engine,
            listener=listener,
            name=given.served_name,
            api_keys=keys,
            origins=given.allow_origin or (),
            limits=HttpLimits(max_waiting=given.max_waiting),
        )
    return 0


def _demo(given: argparse.Namespace) -> int:
    from rich.console import Console

    from .extract.demo import run_demo

    with closing(_engine(given, quiet=False)) as client:
        return 1 if run_demo(client, Console()) else 0


_VERBS = {"extract": _extract, "run": _run, "check": _check, "serve": _serve, "demo": _demo}


# -- from arguments to what the rooms take --------------------------------------------------------------------------


def _settings(given: argparse.Namespace) -> Settings:
    from .extract.job import Settings

    return Settings(
        input=given.input,
        schema=given.schema,
        output=given.output,
        format=given.format,
        delimiter=given.delimiter,
        text_field=given.text_field,
        id_field=given.id_field,
        prompt=given.prompt,
        options=_options(given),
        concurrency=given.concurrency,
        window=given.window,
        restart=given.restart,
        retry_failed=given.retry_failed,
        overwrite=given.overwrite,
        keep_journal=given.keep_journal,
        with_meta=given.with_meta,
        offsets=given.offsets,
    )


def _options(given: argparse.Namespace) -> Options:
    from .extract.asking import Options

    generation = {name: getattr(given, name) for name in ("max_tokens", "temperature", "seed") if name in given}
    return Options(
        **generation,
        spacing=given.spacing,
        property_order=given.property_order,
        draft=given.draft,
        documents=tuple(_other_schema(ref) for ref in given.ref or ()),
        lenient=given.lenient,
        escapes=given.escapes,
        priority=getattr(given, "priority", "online"),  # of the verbs, only extract can wait
    )


def _other_schema(ref: str) -> tuple[str, str]:
    """URI and text of a schema, from URI=FILE."""
    from .extract.schema import read_schema

    uri, equals, file = ref.rpartition("=")
    if not equals:
        raise RootformError(f"--ref {ref}: give the URI of the schema and its file, as in https://a.example/s=s.json")
    return uri, read_schema(Path(file))


def _client(given: argparse.Namespace, *, quiet: bool, concurrency: int = 1) -> Client:
    """A server's client, or an engine in this process."""
    if given.server is None:
        return _engine(given, quiet=quiet)
    here = [name for name in ENGINE_OPTIONS if getattr(given, name) is not None]
    if here:
        raise RootformError(f"--{here[0].replace('_', '-')} is for a model in this process; leave it out with --server")
    from .programs.http_client import HttpClient

    key = os.environ.get("ROOTFORM_API_KEY")
    return HttpClient(given.server, given.model, api_key=key, concurrency=concurrency)


def _engine(given: argparse.Namespace, *, quiet: bool) -> Engine:
    name = getattr(given, "model", None) or "sprout"
    if not quiet:
        print(f"loading {name} ...", file=sys.stderr)
        from .grammar.machine_code import is_to_be_made

        if is_to_be_made():
            print("making machine code for grammars, once after an install: about a minute ...", file=sys.stderr)
    from .engine.api import Engine
    from .grammar.collector import KEPT

    engine = Engine(
        name,
        dtype=given.dtype,
        device=given.device or "cpu",
        max_batch=given.max_batch,
        threads=given.threads,
        itl_ms=given.itl_ms,
        deterministic=bool(given.deterministic),
        drafts=given.drafts != "off",
        overlap=None if given.overlap is None else given.overlap == "on",
        page_tokens=given.page_tokens,
        compile_seconds=2.0 if given.compile_seconds is None else given.compile_seconds,
        grammar_bytes=(given.grammar_mib or 512) << 20,
        cache_dir=given.cache_dir,
        disk_cache_bytes=(4096 if given.disk_cache_mib is None else given.disk_cache_mib) << 20,
        host_cache_bytes=(given.host_cache_mib or 0) << 20,
    )
    KEPT.begin()  # looking through all of torch again and again takes a quarter of a second each time
    if not quiet:
        print(engine.describe(), file=sys.stderr)
    return engine


def _console_for_lines() -> Console:
    """Standard output. Where it is no terminal lines are as long as they are, so that `grep` finds them whole."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_NO_WRAP)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RootformError(f"standard input: byte {error.start} is not UTF-8; give the text as UTF-8") from None


def _print_now(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
