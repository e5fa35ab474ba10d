"""Grow the sprout: `python -m rootform.sprout.train --snips train.jsonl.gz --tokens 21e6 --out sprout/model`.

The schedule counts tokens, never seconds, and every draw is seeded. Two processes share the work when the machine
has two cores; each reads its own half of the examples and gradients are averaged.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F

from .batches import Batch, Encoder, Stage, Utterances, batches, examples
from .corpus import answer, read_rows
from .documents import compact, make_document
from .export import export
from .induction import plant
from .net import Shape, Sprout
from .optim import Average, Muon
from .tokenizer import PAD, token_id, train_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    tokens: int
    shape: Shape
    seed: int = 1
    batch: int = 2048  # tokens in a batch of one process, padding counted
    processes: int = 2
    shares: tuple[float, float] = (0.6, 0.75)  # of the tokens that are utterances: at first, and later
    first_stage: float = 0.421  # share of the run before utterances get their larger share
    muon_rate: float = 0.02
    adam_rate: float = 2e-3
    flat: float = 0.43  # share of the run before the rates begin to fall
    dropout: float = 0.1
    average: float = 0.998

    def stages(self) -> list[Stage]:
        """What one process reads: documents are learnt sooner, so utterances get more of the second stage."""
        mine = self.tokens / self.processes
        first, later = self.shares
        return [Stage(mine * self.first_stage, first), Stage(mine * (1 - self.first_stage), later)]


def rate_factor(done: float, flat: float) -> float:
    """What the learning rates are multiplied by after `done` (0 to 1) of the tokens."""
    if done < 0.005:
        return max(0.02, done / 0.005)
    if done < flat:
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - flat) / (1 - flat))))


def build_tokenizer(snips: Path | None, seed: int, documents: int = 6000) -> Tokenizer:
    """A tokenizer learnt from the utterances and their answers and from generated documents."""
    rng = random.Random(seed)
    texts: list[str] = []
    if snips:
        for row in read_rows(snips):
            texts += [row.text, answer(row)]
    for _ in range(documents):
        document = make_document(rng)
        texts += [document.text, compact(document.answer)]
    return train_tokenizer(texts)


def loss_of(model: Sprout, batch: Batch) -> Tensor:
    """The weighted mean cross-entropy of the batch's tokens."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.hidden(batch.ids[:, :-1])
        weights = batch.weights[:, 1:].reshape(-1)
        counted = weights.nonzero()[:, 0]
        logits = model.logits(hidden.flatten(0, 1)[counted])
    targets = batch.ids[:, 1:].reshape(-1)[counted]
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * weights[counted]).sum() / weights.sum()


class Optimizers:
    """Muon for the layers' matrices, AdamW for everything else, on one schedule."""

    def __init__(self, model: Sprout, recipe: Recipe) -> None:
        self.recipe = recipe
        matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2]
        chosen = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if id(weight) not in chosen]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.01)

    def step(self, done: float) -> None:
        factor = rate_factor(done, self.recipe.flat)
        for group in self.adam.param_groups:
            group["lr"] = self.recipe.adam_rate * factor
        self.muon.step(self.recipe.muon_rate * factor)
        self.adam.step()


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def agreed(tokens: int) -> int:
    """The sum over all processes."""
    if not dist.is_initialized():
        return tokens
    total = torch.tensor(tokens)
    dist.all_reduce(total)
    return int(total)


def grow(recipe: Recipe, tokenizer: Tokenizer, snips: Path | None, out: Path, rank: int) -> list[float]:
    """Train one process's share; process 0 writes checkpoints to `out`. The losses, one a step."""
    torch.manual_seed(recipe.seed * 1000 + rank)
    model = Sprout(recipe.shape, recipe.dropout)
    plant(model, torch.Generator().manual_seed(recipe.seed))
    model.train()
    rng = random.Random(recipe.seed * 1000 + rank)
    utterances = Utterances.of(read_rows(snips)) if snips else None
    source = examples(Encoder(tokenizer), utterances, recipe.stages(), rng)
    stream = batches(source, recipe.batch, token_id(tokenizer, PAD), rng)
    optimizers, average = Optimizers(model, recipe), Average(model, recipe.average)
    losses: list[float] = []
    seen, began, saved = 0, time.monotonic(), time.monotonic()
    for step in itertools.count():
        batch = next(stream)
        model.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        average_gradients(model)
        optimizers.step(seen / recipe.tokens)
        average.update()
        seen += agreed(batch.tokens)
        losses.append(loss.item())
        over = seen >= recipe.tokens
        if rank == 0 and step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            log(out, {"step": step, "tokens": seen, "loss": mean, "seconds": round(time.monotonic() - began, 1)})
        if rank == 0 and (over or time.monotonic() - saved > 180):
            saved = time.monotonic()
            export(average.weights, recipe.shape, tokenizer, out)
        if over:
            return losses
    raise AssertionError("the step counter never ends")


def log(out: Path, entry: dict[str, float]) -> None:
    """Print a line of the curve and append it beside the output folder."""
    line = json.dumps(entry)
    print(line, flush=True)
    with Path(f"{out}.log.jsonl").open("a") as file:
        file.write(line + "\n")


def worker(rank: int, recipe: Recipe, tokenizer_json: str, snips: Path | None, out: Path, port: int) -> None:
    """The body of each process."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // recipe.processes))
    if recipe.processes > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=recipe.processes)
    grow(recipe, Tokenizer.from_str(tokenizer_json), snips, out, rank)
    if recipe.processes > 1:
        dist.destroy_process_group()


def run(recipe: Recipe, snips: Path | None, out: Path, port: int = 29517) -> None:
    """Train from nothing and leave a loadable model in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(snips, recipe.seed)
    described = {"utterances": bool(snips), **asdict(recipe)}
    Path(f"{out}.log.jsonl").write_text(json.dumps(described) + "\n")
    arguments = (recipe, tokenizer.to_str(), snips, out, port)
    if recipe.processes == 1:
        worker(0, *arguments)
    else:
        spawn(worker, arguments, nprocs=recipe.processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snips", type=Path, help="training utterances, .jsonl or .jsonl.gz")
    parser.add_argument("--tokens", type=float, default=21e6, help="how many tokens to train on")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the model to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args(arguments)
    snips = args.snips if args.snips and args.snips.exists() else None
    if snips is None:
        print("no SNIPS file: training on generated documents alone; the model will not know utterances")
    run(Recipe(int(args.tokens), Shape(), args.seed, processes=args.processes), snips, args.out)


if __name__ == "__main__":
    main()
