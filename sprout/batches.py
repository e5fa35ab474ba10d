"""Training examples as token ids with a loss weight for each, and batches of about equal size."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .corpus import Piece, Pools, Row, align, answer, value_pools, vary
from .documents import compact, make_document
from .tokenizer import DOCUMENT, END, JSON, token_id

UTTERANCE_TEXT_WEIGHT = 0.3  # learning to predict the utterance itself: +2 F1 in a short trial
DOCUMENT_TEXT_WEIGHT = 0.05  # generated prose is worth little
POOL_EXAMPLES = 512  # sorted by length together, so that batches hold little padding


@dataclass(frozen=True)
class Example:
    """Token ids, and for each the weight of predicting it (the first is never predicted)."""

    ids: list[int]
    weights: list[float]


@dataclass
class Utterances:
    """The rows to train on, aligned, dealt out in a fresh order every epoch."""

    rows: list[Row]
    pieces: list[list[Piece] | None]
    pools: Pools
    order: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: list[Row]) -> Utterances:
        pieces = [align(row) for row in rows]
        return cls(rows, pieces, value_pools(aligned for aligned in pieces if aligned))

    def next(self, rng: random.Random) -> Row:
        """The next row of this epoch, varied."""
        if not self.order:
            self.order = list(range(len(self.rows)))
            rng.shuffle(self.order)
        index = self.order.pop()
        aligned = self.pieces[index]
        return vary(self.rows[index], aligned, self.pools, rng) if aligned else self.rows[index]


class Encoder:
    """Turns rows and documents into examples."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.document, self.json, self.end = (token_id(tokenizer, name) for name in (DOCUMENT, JSON, END))

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def utterance(self, row: Row) -> Example:
        """The whole answer counts, the text a little."""
        text, tail = self.ids(row.text), [*self.ids(answer(row)), self.end]
        weights = [0.0, *[UTTERANCE_TEXT_WEIGHT] * len(text), 0.0, *[1.0] * len(tail)]
        return Example([self.document, *text, self.json, *tail], weights)

    def document_example(self, rng: random.Random) -> Example:
        """Of the answer the values count: which keys come is the schema's choice, not the model's."""
        document = make_document(rng)
        text = self.ids(document.text)
        ids = [self.document, *text, self.json]
        weights = [0.0, *[DOCUMENT_TEXT_WEIGHT] * len(text), 0.0]
        for key, value in document.answer.items():
            before = self.ids(("{" if not weights[-1] else ",") + f'"{key}":')
            after = self.ids(compact_value(value))
            ids += [*before, *after]
            weights += [0.0] * len(before) + [1.0] * len(after)
        ids += [*self.ids("}"), self.end]
        return Example(ids, [*weights, 0.0, 1.0])


def compact_value(value: str | None) -> str:
    """One value as JSON."""
    return compact({"": value})[4:-1]


@dataclass(frozen=True)
class Stage:
    """A stretch of training: its length in tokens of one process, and which share of them are utterances."""

    tokens: float
    utterance_share: float


def examples(
    encoder: Encoder, utterances: Utterances | None, stages: Sequence[Stage], rng: random.Random
) -> Iterator[Example]:
    """Examples without end, one stage after another; the last one never ends."""
    for stage in stages:
        limit = float("inf") if stage is stages[-1] else stage.tokens
        share = stage.utterance_share if utterances else 0.0
        spent = [0, 0]
        while sum(spent) < limit:
            if utterances and spent[0] * (1 - share) <= spent[1] * share:
                example, kind = encoder.utterance(utterances.next(rng)), 0
            else:
                example, kind = encoder.document_example(rng), 1
            spent[kind] += len(example.ids)
            yield example


@dataclass(frozen=True)
class Batch:
    """ids and weights: (rows, time); padding to the right has weight 0. tokens: how many are not padding."""

    ids: Tensor
    weights: Tensor
    tokens: int


def batches(source: Iterator[Example], size: int, pad: int, rng: random.Random) -> Iterator[Batch]:
    """Batches of at most `size` tokens, padding counted, in random order of length."""
    while True:
        pool = sorted((next(source) for _ in range(POOL_EXAMPLES)), key=lambda example: len(example.ids))
        groups: list[list[Example]] = [[]]
        for example in pool:
            if groups[-1] and (len(groups[-1]) + 1) * len(example.ids) > size:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        yield from (padded(group, pad) for group in groups)


def padded(group: list[Example], pad: int) -> Batch:
    """One batch of these examples."""
    time = max(len(example.ids) for example in group)
    ids = torch.full((len(group), time), pad)
    weights = torch.zeros(len(group), time)
    for row, example in enumerate(group):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        weights[row, : len(example.ids)] = torch.tensor(example.weights)
    return Batch(ids, weights, sum(len(example.ids) for example in group))
