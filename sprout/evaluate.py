"""Judge a checkpoint while it grows: `python -m rootform.sprout.evaluate MODEL --snips dev.jsonl.gz`.

A small greedy decoder of its own, so that growing needs nothing of the engine. Utterances are decoded freely;
document keys are forced as a schema would force them. `benchmarks/quality.py` measures the real path.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .corpus import Row, read_rows
from .documents import Document, make_document
from .export import exported_weights
from .net import Shape, Sprout
from .score import SlotScore, field_share
from .tokenizer import END, prompt, token_id

MAX_ANSWER_TOKENS = 64

# A script says, token by token, which ids may come next (None: any) and is sent the id that came.
Script = Generator[Sequence[int] | None, int, None]


def load(folder: Path) -> tuple[Sprout, Tokenizer]:
    """The model and tokenizer of an exported folder, in float32."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        vocab=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        inner=config["intermediate_size"],
        rope_theta=config["rope_parameters"]["rope_theta"],
        norm_eps=config["rms_norm_eps"],
    )
    model = Sprout(shape)
    model.load_state_dict(exported_weights(folder))
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def free_script(end: int) -> Script:
    """Anything up to the end token."""
    for _ in range(MAX_ANSWER_TOKENS):
        if (yield None) == end:
            return


def keys_script(tokenizer: Tokenizer, keys: Sequence[str]) -> Script:
    """An object with these keys in this order, each value a string or null."""
    quote, null, escape = (token_id(tokenizer, text) for text in ('"', "null", "\\"))
    for number, key in enumerate(keys):
        for forced in tokenizer.encode(("," if number else "{") + f'"{key}":').ids:
            yield [forced]
        token, last = (yield [quote, null]), quote
        for _ in range(MAX_ANSWER_TOKENS):
            if token == null or (token == quote and last != quote and last != escape):
                break
            last, token = token, (yield None)
        if token not in (quote, null):
            yield [quote]
    yield [token_id(tokenizer, "}")]


def decode(model: Sprout, tokenizer: Tokenizer, jobs: Sequence[tuple[str, Script]], rows: int = 64) -> list[str]:
    """The answers to (text, script) jobs, in order; about `rows` are decoded at a time."""
    answers = [""] * len(jobs)
    order = sorted(range(len(jobs)), key=lambda index: len(jobs[index][0]))
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        for index, text in zip(chosen, decode_group(model, tokenizer, [jobs[i] for i in chosen]), strict=True):
            answers[index] = text
    return answers


@torch.inference_mode()
def decode_group(model: Sprout, tokenizer: Tokenizer, jobs: Sequence[tuple[str, Script]]) -> list[str]:
    """The answers to a few jobs, decoded side by side without a cache."""
    ids = [tokenizer.encode(prompt(text)).ids for text, _ in jobs]
    begins = [len(row) for row in ids]
    wanted: dict[int, Sequence[int] | None] = {}
    for index, (_, script) in enumerate(jobs):
        wanted[index] = next(script)
    while wanted:
        for index in list(wanted):
            follow_forced(index, ids[index], jobs[index][1], wanted)
        if not wanted:
            break
        live = list(wanted)
        scores = last_scores(model, [ids[index] for index in live])
        for index, row in zip(live, scores, strict=True):
            allowed = wanted[index]
            token = int(row.argmax()) if allowed is None else max(allowed, key=lambda i: float(row[i]))
            push(index, token, ids[index], jobs[index][1], wanted)
    return [tokenizer.decode(row[begin:], skip_special_tokens=True) for row, begin in zip(ids, begins, strict=True)]


def follow_forced(index: int, row: list[int], script: Script, wanted: dict[int, Sequence[int] | None]) -> None:
    """Append tokens as long as the script leaves one choice."""
    while (allowed := wanted.get(index)) is not None and len(allowed) == 1:
        push(index, allowed[0], row, script, wanted)


def push(index: int, token: int, row: list[int], script: Script, wanted: dict[int, Sequence[int] | None]) -> None:
    """Append one token and note what may follow; a finished job leaves `wanted`."""
    row.append(token)
    try:
        wanted[index] = script.send(token)
    except StopIteration:
        del wanted[index]


@torch.inference_mode()
def last_scores(model: Sprout, rows: Sequence[list[int]]) -> torch.Tensor:
    """Next-token logits, (rows, vocab), after each of these token rows."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
    last = torch.tensor([len(row) - 1 for row in rows])
    hidden = model.hidden(ids)[torch.arange(len(rows)), last]
    return model.logits(hidden)


def parse(text: str) -> object:
    """The JSON value, or None where the text is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def score_utterances(model: Sprout, tokenizer: Tokenizer, rows: Sequence[Row]) -> SlotScore:
    """Slot scores of freely decoded answers."""
    end, score = token_id(tokenizer, END), SlotScore()
    texts = decode(model, tokenizer, [(row.text, free_script(end)) for row in rows])
    for row, text in zip(rows, texts, strict=True):
        score.add(parse(text), row.intent, row.slots)
    return score


def unseen_documents(count: int, seed: int = 20_000, held_out: bool = True, as_shipped: bool = False) -> list[Document]:
    """Generated documents no training run has seen: other seeds and, with held_out, other values."""
    rng = random.Random(seed)
    return [make_document(rng, held_out, as_shipped) for _ in range(count)]


def score_documents(model: Sprout, tokenizer: Tokenizer, documents: Sequence[Document]) -> dict[str, float]:
    """Percent of fields right, for each kind, and over `all`."""
    jobs = [(document.text, keys_script(tokenizer, list(document.answer))) for document in documents]
    pairs: dict[str, list[tuple[object, dict[str, str | None]]]] = defaultdict(list)
    for document, text in zip(documents, decode(model, tokenizer, jobs), strict=True):
        pairs[document.kind].append((parse(text), document.answer))
    by_kind = {kind: field_share(found) for kind, found in sorted(pairs.items())}
    return by_kind | {"all": field_share(pair for found in pairs.values() for pair in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--snips", type=Path, help="utterances to score, .jsonl or .jsonl.gz")
    parser.add_argument("--rows", type=int, default=700)
    parser.add_argument("--documents", type=int, default=300)
    args = parser.parse_args()
    model, tokenizer = load(args.model)
    if args.snips:
        score = score_utterances(model, tokenizer, read_rows(args.snips)[: args.rows])
        print(f"intent {score.intent_accuracy:.1f}  F1 {score.f1:.1f}  rows {score.exact_rows:.1f}")
    for held_out in (True, False):
        shares = score_documents(model, tokenizer, unseen_documents(args.documents, held_out=held_out))
        line = "  ".join(f"{kind} {share:.1f}" for kind, share in shares.items())
        print(f"fields right, {'held-out' if held_out else 'training'} values: {line}")


if __name__ == "__main__":
    main()
