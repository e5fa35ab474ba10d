"""The command line: each verb reads its arguments and calls one function in a room."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .engine.types import RootformError
from .grammar.errors import GrammarError

if TYPE_CHECKING:
    from .engine.api import Engine
    from .extract.asking import Options
    from .extract.job import Settings
    from .programs.client import Client

CANNOT, INTERRUPTED = 2, 130

_EXTRACT_HELP = """\
Extract one JSON object from each document of a file. Rows keep their order and ids; a row that cannot be extracted
becomes a row with an error and its reason, and the job goes on.

A killed job goes on where it was: run the same command again. Finished rows are kept in OUTPUT.journal; every row goes
to the operating system as it finishes, and to the disk about once a second.

exit codes:
  0    every row was extracted
  1    the output is complete, but some rows failed (the summary says how many, and why); with --lenient a row fails
       whose answer turns out not to be valid, and keeps the text
  2    the job could not start, or could not go on; finished rows are in the journal
  130  interrupted; finished rows are in the journal

examples:
  rootform extract docs.jsonl --schema invoice.schema.json --output out.jsonl
  rootform extract mails.csv --text-field body --id-field message_id --schema s.json --output out.jsonl
  rootform extract docs.jsonl --schema s.json --output out.jsonl --retry-failed
  zcat docs.jsonl.gz | rootform extract - --schema s.json --output out.jsonl --server http://127.0.0.1:8000

prompt template (--prompt FILE): {document} is the document, {schema} the schema, {name} any other field of the row;
{{ and }} are plain braces.
"""
_RUN_HELP = """\
Extract one document and print the result as it is generated, field by field. The output is JSON. With --lenient the
exit code is 1 if it turns out not to be valid.

examples:
  rootform run "Meet Ann Berg of Nordlicht, ann@nordlicht.example" --schema contact.schema.json
  rootform run - --schema contact.schema.json < letter.txt
"""
_CHECK_HELP = """\
Say what a JSON Schema enforces, what is refused and why, and what to write instead; show an example and what it costs.

exit codes:
  0    everything is enforced exactly (or, with --lenient, checked), and no hosted API asked about refuses anything
  1    something is refused
  2    the file cannot be read, or is not JSON

examples:
  rootform check invoice.schema.json
  rootform check invoice.schema.json --json
  rootform check invoice.schema.json --profile openai --profile anthropic
  rootform check invoice.schema.json --tokenizer ./my-model
"""
_SERVE_HELP = """\
Serve a model over HTTP: OpenAI's chat and completions, with JSON Schemas enforced exactly.
API keys: --api-key (repeatable) or ROOTFORM_API_KEY; none: everybody may ask.

examples:
  rootform serve
  rootform serve --model Qwen/Qwen3-0.6B --port 8000
"""
_DEMO_HELP = "Extract the packaged example documents with the bundled model; show results, accuracy and speed."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; its exit code. What goes wrong for a known reason is one message on stderr, never a traceback."""
    given = _parser().parse_args(arguments)
    try:
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
    from rich.console import Console

    from .engine.resolve import SPROUT, resolve_model
    from .engine.token_files import read_tokens
    from .extract.check import SAMPLE_DOCUMENT, check_schema

    tokens = read_tokens(given.tokenizer) if given.tokenizer else read_tokens(resolve_model(SPROUT), SPROUT)
    return check_schema(
        given.schema,
        _options(given).constraint(""),
        Console(),
        as_json=given.json,
        profiles=tuple(dict.fromkeys(given.profile or ())),
        tokens=tokens,
        document=_text_file(given.document) if given.document else SAMPLE_DOCUMENT,
    )


def _serve(given: argparse.Namespace) -> int:
    from .server.serve import bind, serve

    keys = given.api_key or [key for key in [os.environ.get("ROOTFORM_API_KEY")] if key]
    with bind(given.host, given.port) as listener, closing(_engine(given, quiet=False)) as engine:
        serve(engine, listener=listener, api_keys=keys)
    return 0


def _demo(given: argparse.Namespace) -> int:
    from rich.console import Console

    from .extract.demo import run_demo

    with closing(_engine(given, quiet=False)) as client:
        return 1 if run_demo(client, Console()) else 0


# -- arguments ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rootform", description="Structured generation: documents in, exact JSON out."
    )
    parser.add_argument("--version", action="version", version=f"rootform {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_extract(_add_verb(verbs, "extract", "extract JSON from every document of a file", _EXTRACT_HELP, _extract))
    _add_run(_add_verb(verbs, "run", "extract JSON from one document", _RUN_HELP, _run))
    _add_check(_add_verb(verbs, "check", "say what a schema enforces", _CHECK_HELP, _check))
    _add_serve(_add_verb(verbs, "serve", "serve a model over HTTP", _SERVE_HELP, _serve))
    _add_engine(_add_verb(verbs, "demo", "see it work on packaged examples", _DEMO_HELP, _demo))
    return parser


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    verb: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    keep = argparse.RawDescriptionHelpFormatter
    parser = verbs.add_parser(name, help=summary, description=description, formatter_class=keep)
    parser.set_defaults(verb=verb)
    return parser


def _add_extract(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", help="JSON lines or CSV with a header; - is standard input")
    add("--schema", type=Path, required=True, help="file with the JSON Schema of one result")
    add("--output", type=Path, required=True, help="file for the results, JSON lines")
    add("--format", choices=("jsonl", "csv"), help="of the input (default: by its name)")
    add("--text-field", default="text", help="field that holds the document (default: text)")
    add("--id-field", default="id", help="field that holds the id (default: id; where there is none, the line number)")
    _add_generation(parser)
    among = "among other calls of a server: offline (default) takes what online calls leave"
    add("--priority", choices=("offline", "online"), default="offline", help=among)
    add("--concurrency", type=_positive, default=128, help="documents under way at once (default: 128)")
    add("--window", type=_positive, default=1024, help="rows sorted at a time, so that shared prefixes meet")
    add("--with-meta", action="store_true", help="write token counts into every row")
    add("--offsets", action="store_true", help="write into every row where in the document its verbatim values stand")
    add("--restart", action="store_true", help="throw the journal of an earlier run away first")
    add("--retry-failed", action="store_true", help="do the rows again that failed in an earlier run")
    add("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    add("--keep-journal", action="store_true", help="keep OUTPUT.journal also when every row succeeded")
    add("--quiet", action="store_true", help="no progress and no summary; errors only")
    _add_client(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the document; - is standard input")
    parser.add_argument("--schema", type=Path, required=True, help="file with the JSON Schema of the result")
    _add_generation(parser)
    _add_client(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schema", type=Path, help="file with a JSON Schema")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    hosted = "also tell what this hosted API's documented subset would refuse; may be repeated"
    parser.add_argument("--profile", action="append", choices=("openai", "gemini", "anthropic"), help=hosted)
    stands_in = "file with the text that verbatim values of the example stand in (default: a short sample)"
    parser.add_argument("--document", type=Path, help=stands_in)
    folder = "folder with the tokenizer to tell costs for (default: the bundled model's)"
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help=folder)
    _add_schema_options(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1; 0.0.0.0: every interface)")
    add("--port", type=_port, default=8000, help="port (default: 8000; 0: any free one)")
    add("--api-key", action="append", help="a key that callers must give; may be repeated")
    _add_model(parser)
    _add_engine(parser)


def _add_generation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--prompt", type=Path, help="file with a prompt template: {document}, {schema}; default: the model's own")
    add("--max-tokens", type=_positive, help="of one answer (default: 1024, or what the model's context leaves)")
    add("--temperature", type=_not_negative, default=0.0, help="0 (default): the likeliest token always")
    add("--seed", type=int, default=0, help="for temperatures above 0 (default: 0)")
    _add_schema_options(parser)


def _add_schema_options(parser: argparse.ArgumentParser) -> None:
    drafts = ("4", "6", "7", "2019-09", "2020-12")
    how = "draft of JSON Schema to read it as (default: as its $schema says, else 2020-12)"
    parser.add_argument("--draft", choices=drafts, help=how)
    other = "a schema that this one refers to by its URI; may be repeated"
    parser.add_argument("--ref", action="append", metavar="URI=FILE", help=other)
    lenient = "leave out what cannot be enforced, and check each result against the whole schema when it is complete"
    parser.add_argument("--lenient", action="store_true", help=lenient)
    choices = ("compact", "canonical", "flexible", "indent", "indent4")
    parser.add_argument("--spacing", choices=choices, default="compact", help="whitespace between JSON tokens")
    how = "escapes in strings: every legal one (default), or only those that have to be"
    parser.add_argument("--escapes", choices=("any", "minimal"), default="any", help=how)
    where = "where members of an object may stand: as in the schema (default), or anywhere"
    parser.add_argument("--property-order", choices=("schema", "any"), default="schema", help=where)


def _add_client(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--server", metavar="URL", help="use a running server (its key: ROOTFORM_API_KEY)")
    _add_engine(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    what = "a folder, a Hugging Face name, or sprout (default: the small bundled model)"
    parser.add_argument("--model", metavar="PATH_OR_NAME", help=what)


_ENGINE_OPTIONS = (
    *("dtype", "device", "max_batch", "threads", "itl_ms", "deterministic", "drafts", "compile_seconds", "grammar_mib"),
    *("cache_dir", "disk_cache_mib", "host_cache_mib"),
)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", help="float32 (default), bfloat16 or int8 (docs/formats.md)")
    parser.add_argument("--device", help="cpu (default) or cuda (docs/gpu.md)")
    parser.add_argument("--max-batch", type=_positive, help="sequences in one forward pass")
    parser.add_argument("--threads", type=_positive, help="CPU threads for the model")
    target = "ms between tokens of online calls that prompts are not to exceed (default: they may double what it is)"
    parser.add_argument("--itl-ms", type=float, metavar="MS", help=target)
    same = "the same tokens for a request in any company, whatever is cached; slower, float32 on the CPU only"
    parser.add_argument("--deterministic", action="store_true", default=None, help=same)
    drafts = "guess tokens ahead and let the model check them (default: on); the output is the same"
    parser.add_argument("--drafts", choices=("on", "off"), help=drafts)
    limit = "processor time one constraint may take to compile (default: 2)"
    parser.add_argument("--compile-seconds", type=float, metavar="S", help=limit)
    memory = "memory for compiled constraints (default: 512)"
    parser.add_argument("--grammar-mib", type=_positive, metavar="MIB", help=memory)
    kept = "keep cached prefixes and mask rows in this folder from one start to the next"
    parser.add_argument("--cache-dir", type=Path, metavar="FOLDER", help=kept)
    files = "size that cached prefixes in --cache-dir may have (default: 4096; 0: none are kept)"
    parser.add_argument("--disk-cache-mib", type=_not_negative_int, metavar="MIB", help=files)
    host = "host memory for cached prefixes that leave the KV memory (default: 0)"
    parser.add_argument("--host-cache-mib", type=_not_negative_int, metavar="MIB", help=host)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _not_negative_int(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


# -- from arguments to what the rooms take --------------------------------------------------------------------------


def _settings(given: argparse.Namespace) -> Settings:
    from .extract.job import Settings

    return Settings(
        input=given.input,
        schema=given.schema,
        output=given.output,
        format=given.format,
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
    here = [name for name in _ENGINE_OPTIONS if getattr(given, name) is not None]
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

    engine = Engine(
        name,
        dtype=given.dtype,
        device=given.device or "cpu",
        max_batch=given.max_batch,
        threads=given.threads,
        itl_ms=given.itl_ms,
        deterministic=bool(given.deterministic),
        drafts=given.drafts != "off",
        compile_seconds=2.0 if given.compile_seconds is None else given.compile_seconds,
        grammar_bytes=(given.grammar_mib or 512) << 20,
        cache_dir=given.cache_dir,
        disk_cache_bytes=(4096 if given.disk_cache_mib is None else given.disk_cache_mib) << 20,
        host_cache_bytes=(given.host_cache_mib or 0) << 20,
    )
    gc.collect()
    gc.freeze()  # looking through all of torch again and again takes a quarter of a second each time
    if not quiet:
        print(engine.limits.describe(), file=sys.stderr)
    return engine


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise RootformError(f"standard input: byte {error.start} is not UTF-8; give the text as UTF-8") from None


def _text_file(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RootformError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _print_now(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
