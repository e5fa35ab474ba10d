"""What the grammar benchmark reads: a tokenizer's tokens, and schemas with instances that are or are not valid."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Encode = Callable[[str], list[int]]

_ANNOTATIONS = ("format.json", "content.json")


class Tokens(NamedTuple):
    """A tokenizer. table: the bytes of every ordinary token by id, b"" for special ones. size: width of the logits.

    pattern: of a tiktoken-like tokenizer, how it splits text; definition: of others, their tokenizer.json.
    """

    name: str
    table: list[bytes]
    eos_ids: list[int]
    size: int
    pattern: str
    definition: str


class Case(NamedTuple):
    """One schema and its instances. group: what it is counted under. tests: is it valid, and the instance."""

    name: str
    group: str
    schema: str
    tests: list[tuple[bool, Any]]
    documents: dict[str, str]


# -- tokenizers -----------------------------------------------------------------------------------------------


def load_tokens(folder: Path | None) -> tuple[Tokens, Encode]:
    """The tokenizer of a Hugging Face folder; None: Tekken where mistral-common is installed, else the sprout's."""
    if folder is None:
        spec = importlib.util.find_spec("mistral_common")
        found = sorted(Path(str(spec.origin)).parent.glob("data/tekken_*.json")) if spec and spec.origin else []
        if found:
            return _tekken(found[-1])
        folder = Path(__file__).parent.parent / "sprout" / "model"
    return _hugging_face(folder)


def _tekken(file: Path) -> tuple[Tokens, Encode]:
    import tiktoken

    read = json.loads(file.read_bytes())
    config = read["config"]
    size = config["default_vocab_size"]
    ordinary = size - config["default_num_special_tokens"]
    table = [base64.b64decode(entry["token_bytes"]) for entry in read["vocab"][:ordinary]]
    tokens = Tokens(f"Tekken ({file.stem})", table, [ordinary], size, config["pattern"], "")
    ranks = {data: rank for rank, data in enumerate(table)}
    encoding = tiktoken.Encoding("tekken", pat_str=tokens.pattern, mergeable_ranks=ranks, special_tokens={})
    return tokens, encoding.encode_ordinary


def _hugging_face(folder: Path) -> tuple[Tokens, Encode]:
    from rootform.engine.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    table = tokenizer.token_bytes
    definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
    tokens = Tokens(str(folder.name), table, sorted(tokenizer.eos_ids), len(table), "", definition)
    return tokens, lambda text: list(tokenizer.encode_bare(text))


# -- schemas --------------------------------------------------------------------------------------------------


def read_cases(file: Path) -> Iterator[Case]:
    """A .jsonl.gz or .jsonl file with one schema and its instances on each line."""
    data = file.read_bytes()
    for line in (gzip.decompress(data) if file.suffix == ".gz" else data).splitlines():
        read = json.loads(line)
        tests = [(test["valid"], test["data"]) for test in read["tests"]]
        yield Case(read["name"], read.get("source", "cases"), json.dumps(read["schema"]), tests, {})


def read_suite(file: Path, drafts: tuple[str, ...] = ("draft2020-12", "draft7")) -> Iterator[Case]:
    """The official suite as one JSON file; groups are `draft2020-12 required`, `... optional`, `... format`.

    And `... annotations`: what wants formats or contents to be checked by nobody, or by everybody. Engines choose.
    """
    data = file.read_bytes()
    files = json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)["files"]
    remotes = {
        "http://localhost:1234/" + path.removeprefix("remotes/"): json.dumps(found)
        for path, found in files.items()
        if path.startswith("remotes/")
    }
    for path, found in files.items():
        draft, _, rest = path.removeprefix("tests/").partition("/")
        if not path.startswith("tests/") or draft not in drafts:
            continue
        part = {0: "required", 1: "optional"}.get(rest.count("/"), "format")
        if rest.rpartition("/")[2] in _ANNOTATIONS:
            part = "annotations"
        for group in found:
            schema = group["schema"]
            if draft == "draft7" and isinstance(schema, dict):
                schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
            tests = [(test["valid"], test["data"]) for test in group["tests"]]
            name = f"{rest.removesuffix('.json')}: {group['description']}"
            yield Case(name, f"{draft} {part}", json.dumps(schema), tests, remotes)


def text_of(instance: Any, *, compact: bool) -> str:
    """The JSON text of an instance: without spaces, or with those that `json.dumps` writes."""
    separators = (",", ":") if compact else (", ", ": ")
    text = json.dumps(instance, separators=separators, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        text = json.dumps(instance, separators=separators)
    return text
