"""Initial weights with which a sprout can copy text before its first training step.

A small transformer learns to copy a span out of its prompt only late, and all at once. Here the circuit is
planted instead: layer 0 writes the two tokens before each position into reserved residual dimensions, and
layer 1 finds the place where the current token stood before and copies what followed it there. All of it
stays trainable, and the checkpoint is an ordinary Llama.

The residual stream, from left to right:

    0       1 .. content        content .. content + 2h     content + 2h .. width     (h: width of a head)
    const   the token itself    the token before            the one before that
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .net import Layer, Shape, Sprout, rotary_frequencies

CONTENT_STD = 0.08
CONSTANT = 0.3
LOOK_BACK = 2.5  # strength of the layer-0 heads' positional pattern; sharper costs gradient
MATCH = 2.5  # strength with which layer 1 compares tokens
COPY = 0.6  # how much of the copied token layer 1 adds
FAST_PAIRS = 6  # rotary pairs that turn too fast to compare tokens at a distance


def plant(model: Sprout, generator: torch.Generator) -> None:
    """Overwrite every weight of `model`, in place. Too small a shape keeps the ordinary random weights."""
    shape = model.shape
    random_weights(model, generator)
    if shape.layers < 2 or shape.heads < 4 or shape.width <= 4 * shape.head_width:
        return
    with torch.no_grad():
        plant_embedding(model.embed_tokens, shape, generator)
        layers = [layer for layer in model.layers if isinstance(layer, Layer)]
        plant_look_back(layers[0], shape, generator)
        plant_match_and_copy(layers[1], shape)


def random_weights(model: Sprout, generator: torch.Generator) -> None:
    """Small normal weights everywhere; what writes into the residual stream starts smaller still."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = CONTENT_STD if "embed" in name else (0.01 if writes else 0.03)
                weight.normal_(0.0, std, generator=generator)


def content_end(shape: Shape) -> int:
    """Where the dimensions reserved for earlier tokens begin."""
    return shape.width - 3 * shape.head_width


def plant_embedding(embedding: nn.Embedding, shape: Shape, generator: torch.Generator) -> None:
    """One constant dimension for positional heads to read; nothing in the reserved dimensions."""
    embedding.weight.normal_(0.0, CONTENT_STD, generator=generator)
    embedding.weight[:, 0] = CONSTANT
    embedding.weight[:, content_end(shape) :] = 0.0


def plant_look_back(layer: Layer, shape: Shape, generator: torch.Generator) -> None:
    """Heads 0 and 1 attend one token back, head 2 two back; each writes a part of what it sees.

    The parts are chosen so that layer 1 can compare like with like: head 2 carries the same dimensions of the
    token two back as head 0 carries of the token one back.
    """
    width, start = shape.head_width, content_end(shape)
    frequency = rotary_frequencies(width, shape.rope_theta)
    attention = layer.self_attn
    for head, (distance, first) in enumerate([(1, 1), (1, 1 + width), (2, 1)]):
        rows = slice(head * width, (head + 1) * width)
        for name, angle in (("q_proj", torch.zeros_like(frequency)), ("k_proj", distance * frequency)):
            projection = weight_of(attention, name)
            projection[rows] = 0.0
            projection[rows, 0] = LOOK_BACK * torch.cat([angle.cos(), angle.sin()])
        # Half-split rotary layout: scores are then a sum of cos((i - j - distance) * frequency), largest there.
        last = min(first + width, start)
        value = weight_of(attention, "v_proj")
        value[rows] = 0.0
        value[rows, first:last][: last - first] = torch.eye(last - first)
        out = weight_of(attention, "o_proj")
        out[:, rows] = 0.0
        out[start + head * width : start + (head + 1) * width, rows] = 0.1 * torch.eye(width)


def plant_match_and_copy(layer: Layer, shape: Shape) -> None:
    """Heads 0, 1: this token against the token before j. Head 2: the last token against the one two before j.

    Each copies a third of the content dimensions of token j, so that together they predict it.
    """
    width, start = shape.head_width, content_end(shape)
    attention = layer.self_attn
    slow = slow_rows(width)
    matches = [(1, start), (1 + width, start + width), (start, start + 2 * width)]
    for head, (mine, theirs) in enumerate(matches):
        base = head * width
        rows = slice(base, base + width)
        weight_of(attention, "q_proj")[rows] = 0.0
        weight_of(attention, "k_proj")[rows] = 0.0
        for number, row in enumerate(slow):
            if mine >= start or mine + number < start:
                weight_of(attention, "q_proj")[base + row, mine + number] = MATCH
                weight_of(attention, "k_proj")[base + row, theirs + number] = MATCH
        first = 1 + head * width
        last = min(first + width, start)
        weight_of(attention, "v_proj")[rows] = 0.0
        weight_of(attention, "o_proj")[:, rows] = 0.0
        for number in range(last - first):
            weight_of(attention, "v_proj")[base + number, first + number] = 1.0
            weight_of(attention, "o_proj")[first + number, base + number] = COPY


def slow_rows(width: int) -> list[int]:
    """Rows of a head in both halves of the slow rotary pairs, which barely turn within a document."""
    half = width // 2
    fast = FAST_PAIRS * half // 16
    return [*range(fast, half), *range(half + fast, width)]


def weight_of(attention: nn.Module, name: str) -> Tensor:
    """The weight matrix, (out, in), of one projection."""
    return attention.get_parameter(f"{name}.weight")
