"""The arguments that each verb of the command line takes, and what `--help` says of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from . import __version__

Verb = Callable[[argparse.Namespace], int]

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
  130  interrupted (Ctrl-C, SIGTERM); finished rows are in the journal

examples:
  rootform extract docs.jsonl --schema invoice.schema.json --output out.jsonl
  rootform extract mails.csv --text-field body --id-field message_id --schema s.json --output out.jsonl
  rootform extract docs.jsonl --schema s.json --output out.jsonl --retry-failed
  rootform extract export.csv.gz --delimiter ';' --schema s.json --output out.jsonl
  cat docs.jsonl | rootform extract - --schema s.json --output out.jsonl --server http://127.0.0.1:8000

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


class Parser(argparse.ArgumentParser):
    """Says what is wrong and where help is, instead of listing every option first."""

    def error(self, message: str) -> NoReturn:
        """One message on stderr, and exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser_of(verbs: Mapping[str, Verb]) -> argparse.ArgumentParser:
    """The parser of the command line. What it parses holds, as `verb`, the function of `verbs` to call with it."""
    parser = Parser(prog="rootform", description="Structured generation: documents in, exact JSON out.")
    parser.add_argument("--version", action="version", version=f"rootform {__version__}")
    added = parser.add_subparsers(metavar="VERB", required=True)
    for name, (summary, description, add_arguments) in _VERBS.items():
        keep = argparse.RawDescriptionHelpFormatter
        verb = added.add_parser(name, help=summary, description=description, formatter_class=keep)
        verb.set_defaults(verb=verbs[name])
        add_arguments(verb)
    return parser


def _add_extract(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", help="JSON lines, or CSV or TSV with a header, gzip or not; - is standard input")
    add("--schema", type=Path, required=True, help="file with the JSON Schema of one result")
    add("--output", type=Path, required=True, help="file for the results, JSON lines")
    add("--format", choices=("jsonl", "csv", "tsv"), help="of the input (default: by its name, else jsonl)")
    add("--delimiter", type=_character, metavar="CHARACTER", help="between the cells of CSV (default: a comma)")
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
    add("--api-key", type=_key, action="append", metavar="KEY", help="a key that callers must give; may be repeated")
    called = "the model's name in requests and answers (default: as --model has it)"
    add("--served-name", metavar="NAME", help=called)
    pages = "web pages of this origin (as in https://a.example; *: all) may call from browsers; may be repeated"
    add("--allow-origin", action="append", metavar="ORIGIN", help=pages)
    queue = "calls that may wait for a place in the batch; beyond it, 429 (default: 1024)"
    add("--max-waiting", type=_positive, default=1024, metavar="CALLS", help=queue)
    _add_model(parser)
    _add_engine(parser)


def _add_generation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--prompt", type=Path, help="file with a prompt template: {document}, {schema}; default: the model's own")
    add("--max-tokens", type=_positive, help="of one answer (default: 1024, or what the model's context leaves)")
    add("--temperature", type=_not_negative, default=0.0, help="0 (default): the likeliest token always")
    add("--seed", type=_not_negative_int, default=0, help="for temperatures above 0 (default: 0)")
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


# What only a model in this process has: arguments that make no sense beside --server.
ENGINE_OPTIONS = (
    *("dtype", "device", "max_batch", "threads", "itl_ms", "deterministic", "drafts", "overlap"),
    "page_tokens",
    *("compile_seconds", "grammar_mib", "cache_dir", "disk_cache_mib", "host_cache_mib"),
)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    formats, devices = ("float32", "bfloat16", "int8"), ("cpu", "cuda")
    parser.add_argument("--dtype", choices=formats, help="default: float32, on cuda bfloat16 (docs/formats.md)")
    parser.add_argument("--device", choices=devices, help="default: cpu (docs/gpu.md)")
    parser.add_argument("--max-batch", type=_positive, help="sequences in one forward pass")
    parser.add_argument("--threads", type=_positive, help="CPU threads for the model")
    target = "ms between tokens of online calls that prompts are not to exceed (default: they may double what it is)"
    parser.add_argument("--itl-ms", type=_above_0, metavar="MS", help=target)
    same = "the same tokens for a request in any company, whatever is cached; slower, float32 on the CPU only"
    parser.add_argument("--deterministic", action="store_true", default=None, help=same)
    drafts = "guess tokens ahead and let the model check them (default: on); the output is the same"
    parser.add_argument("--drafts", choices=("on", "off"), help=drafts)
    ahead = "on a device, queue each pass before the one before it was settled (default: on; docs/gpu.md)"
    parser.add_argument("--overlap", choices=("on", "off"), help=ahead)
    page = "on a device, tokens in a page of KV memory (default: 16; docs/gpu.md)"
    parser.add_argument("--page-tokens", type=_positive, metavar="TOKENS", help=page)
    limit = "processor time one constraint may take to compile (default: 2)"
    parser.add_argument("--compile-seconds", type=_above_0, metavar="S", help=limit)
    memory = "memory for compiled constraints (default: 512, at least 32)"
    parser.add_argument("--grammar-mib", type=_positive, metavar="MIB", help=memory)
    kept = "keep cached prefixes, mask rows and the constraints in use in this folder from one start to the next"
    parser.add_argument("--cache-dir", type=Path, metavar="FOLDER", help=kept)
    files = "size that cached prefixes in --cache-dir may have (default: 4096; 0: none are kept)"
    parser.add_argument("--disk-cache-mib", type=_not_negative_int, metavar="MIB", help=files)
    host = "host memory for cached prefixes that leave the KV memory (default: 0)"
    parser.add_argument("--host-cache-mib", type=_not_negative_int, metavar="MIB", help=host)


# -- what the texts of arguments become ---------------------------------------------------------------------------


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _not_negative_int(text: str) -> int:
    number = _whole(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def _port(text: str) -> int:
    number = _whole(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return number


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def _not_negative(text: str) -> float:
    number = _finite(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _above_0(text: str) -> float:
    number = _finite(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _key(text: str) -> str:
    key = text.strip()
    if not key or not key.isprintable():  # as of a variable that is not set, which must not open the door
        raise argparse.ArgumentTypeError(f"{text!r} is no key; give one line of text")
    return key


def _character(text: str) -> str:
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character that can stand between cells")
    return text


_VERBS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "extract": ("extract JSON from every document of a file", _EXTRACT_HELP, _add_extract),
    "run": ("extract JSON from one document", _RUN_HELP, _add_run),
    "check": ("say what a schema enforces", _CHECK_HELP, _add_check),
    "serve": ("serve a model over HTTP", _SERVE_HELP, _add_serve),
    "demo": ("see it work on packaged examples", _DEMO_HELP, _add_engine),
}
