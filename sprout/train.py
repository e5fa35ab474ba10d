"""Grow the sprout: `python -m rootform.sprout.train --snips train.jsonl.gz --out sprout/model`.

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
from dataclasses import asdict, dataclass, replace
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
from .export import export, exported_weights
from .induction import plant
from .net import Shape, Sprout
from .optim import Average, Muon
from .tokenizer import PAD, token_id, train_tokenizer


@dataclass(frozen=True)
class Cycle:
    """A stretch of training on one schedule; every cycle but the first starts from the last one's averaged weights.

    shares: of the tokens that are utterances, at first and after first_stage (a share of the cycle).
    peak: what the recipe's learning rates are multiplied by.  flat: share of the cycle before they begin to fall.
    dropout: of what attention and feed-forward add to the residual stream, during first_stage and after it.
    """

    tokens: int
    shares: tuple[float, float]
    first_stage: float
    peak: float
    flat: float
    dropout: tuple[float, float]

    def dropout_at(self, done: float) -> float:
        """The dropout after `done` (0 to 1) of the cycle."""
        return self.dropout[done >= self.first_stage]

    def stages(self, processes: int) -> list[Stage]:
        """What one process reads."""
        mine = self.tokens / processes
        first, later = self.shares
        return [Stage(mine * self.first_stage, first), Stage(mine * (1 - self.first_stage), later)]

    def rate_factor(self, done: float) -> float:
        """What the learning rates are multiplied by after `done` (0 to 1) of the cycle."""
        if done < 0.005:
            return self.peak * max(0.02, done / 0.005)
        if done < self.flat:
            return self.peak
        falling = min(1.0, (done - self.flat) / (1 - self.flat))
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))


CYCLES = (
    # Without dropout at first: it delays copying, on which everything else is built, by millions of tokens.
    Cycle(24_000_000, (0.62, 0.72), first_stage=0.3, peak=0.7, flat=0.4, dropout=(0.0, 0.1)),
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    shape: Shape
    cycles: tuple[Cycle, ...] = CYCLES
    seed: int = 1
    batch: int = 2048  # tokens in a batch of one process, padding counted
    processes: int = 2
    muon_rate: float = 0.02
    adam_rate: float = 2e-3
    average: float = 0.998


def scaled(cycles: tuple[Cycle, ...], tokens: float) -> tuple[Cycle, ...]:
    """The same cycles, shorter or longer, with `tokens` in all."""
    factor = tokens / sum(cycle.tokens for cycle in cycles)
    return tuple(replace(cycle, tokens=round(cycle.tokens * factor)) for cycle in cycles)


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

    def __init__(self, model: Sprout, recipe: Recipe, cycle: Cycle) -> None:
        self.recipe, self.cycle = recipe, cycle
        matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2]
        chosen = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if id(weight) not in chosen]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.01)

    def step(self, done: float) -> None:
        factor = self.cycle.rate_factor(done)
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


def grow(
    recipe: Recipe, tokenizer: Tokenizer, snips: Path | None, out: Path, rank: int, start: Path | None = None
) -> list[float]:
    """Train one process's share of all cycles; process 0 writes checkpoints to `out`. The losses, one a step.

    start: a folder with weights to begin from; None: from nothing.
    """
    torch.manual_seed(recipe.seed * 1000 + rank)
    model = Sprout(recipe.shape)
    if start is None:
        plant(model, torch.Generator().manual_seed(recipe.seed))
    else:
        model.load_state_dict(exported_weights(start))
    rng = random.Random(recipe.seed * 1000 + rank)
    utterances = Utterances.of(read_rows(snips)) if snips else None
    losses: list[float] = []
    for cycle in recipe.cycles:
        weights = grow_cycle(recipe, cycle, model, tokenizer, utterances, out, rank, rng, losses)
        model.load_state_dict(weights)
    return losses


def grow_cycle(
    recipe: Recipe,
    cycle: Cycle,
    model: Sprout,
    tokenizer: Tokenizer,
    utterances: Utterances | None,
    out: Path,
    rank: int,
    rng: random.Random,
    losses: list[float],
) -> dict[str, Tensor]:
    """Train `model` for one cycle, adding to `losses`; the averaged weights at its end."""
    model.train()
    source = examples(Encoder(tokenizer), utterances, cycle.stages(recipe.processes), rng)
    stream = batches(source, recipe.batch, token_id(tokenizer, PAD), rng)
    optimizers, average = Optimizers(model, recipe, cycle), Average(model, recipe.average)
    seen, began, saved = 0, time.monotonic(), time.monotonic()
    for step in itertools.count():
        batch = next(stream)
        model.dropout = cycle.dropout_at(seen / cycle.tokens)
        model.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        average_gradients(model)
        optimizers.step(seen / cycle.tokens)
        average.update()
        seen += agreed(batch.tokens)
        losses.append(loss.item())
        over = seen >= cycle.tokens
        if rank == 0 and step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            log(out, {"step": step, "tokens": seen, "loss": mean, "seconds": round(time.monotonic() - began, 1)})
        if rank == 0 and (over or time.monotonic() - saved > 180):
            saved = time.monotonic()
            export(average.weights, recipe.shape, tokenizer, out)
        if over:
            return average.weights
    raise AssertionError("the step counter never ends")


def log(out: Path, entry: dict[str, float]) -> None:
    """Print a line of the curve and append it beside the output folder."""
    line = json.dumps(entry)
    print(line, flush=True)
    with Path(f"{out}.log.jsonl").open("a") as file:
        file.write(line + "\n")


def worker(
    rank: int, recipe: Recipe, tokenizer_json: str, snips: Path | None, out: Path, start: Path | None, port: int
) -> None:
    """The body of each process."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // recipe.processes))
    if recipe.processes > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=recipe.processes)
    grow(recipe, Tokenizer.from_str(tokenizer_json), snips, out, rank, start)
    if recipe.processes > 1:
        dist.destroy_process_group()


def run(recipe: Recipe, snips: Path | None, out: Path, start: Path | None = None, port: int = 29517) -> None:
    """Train from nothing, or from the model in `start`, and leave a loadable model in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    if start is None:
        tokenizer = build_tokenizer(snips, recipe.seed)
    else:
        tokenizer = Tokenizer.from_file(str(start / "tokenizer.json"))
    described = {"utterances": bool(snips), "start": start and start.name, **asdict(recipe)}
    Path(f"{out}.log.jsonl").write_text(json.dumps(described) + "\n")
    arguments = (recipe, tokenizer.to_str(), snips, out, start, port)
    if recipe.processes == 1:
        worker(0, *arguments)
    else:
        spawn(worker, arguments, nprocs=recipe.processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snips", type=Path, help="training utterances, .jsonl or .jsonl.gz")
    parser.add_argument("--tokens", type=float, help="how many tokens to train on (default: what the cycles say)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the model to")
    parser.add_argument("--start", type=Path, help="go on from this model with the last cycle alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args(arguments)
    snips = args.snips if args.snips and args.snips.exists() else None
    if snips is None:
        print("no SNIPS file: training on generated documents alone; the model will not know utterances")
    cycles = CYCLES[-1:] if args.start else CYCLES
    if args.tokens:
        cycles = scaled(cycles, args.tokens)
    run(Recipe(Shape(), cycles, args.seed, processes=args.processes), snips, args.out, args.start)


if __name__ == "__main__":
    main()
