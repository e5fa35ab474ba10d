"""Nodes of a vocabulary's trie, many at a time: int32 arrays."""

from __future__ import annotations

import numpy as np

from .vocab import Vocabulary

_FEW_NODES = 1000


def union(vocabulary: Vocabulary, parts: list[np.ndarray]) -> np.ndarray:
    """All nodes of several lists, ascending. (`np.unique` takes ten times as long for the many there may be.)"""
    if sum(map(len, parts)) < _FEW_NODES:
        return np.unique(np.concatenate(parts))
    found = np.zeros(len(vocabulary.node_byte), bool)
    for nodes in parts:
        found[nodes] = True
    return np.flatnonzero(found).astype(np.int32)


def all_but(vocabulary: Vocabulary, nodes: np.ndarray) -> np.ndarray:
    """The ranges of nodes that are not below any of `nodes`, rows (node, end)."""
    nodes = np.sort(nodes)
    ends = vocabulary.node_end[nodes]
    covered = np.maximum.accumulate(ends)
    outer = np.ones(len(nodes), bool)
    outer[1:] = nodes[1:] >= covered[:-1]
    nodes, ends = nodes[outer], ends[outer]
    starts = np.concatenate([[0], ends])
    stops = np.concatenate([nodes + 1, [len(vocabulary.node_byte)]])
    return np.stack([starts, stops], 1).astype(np.int32)


def tokens_at(vocabulary: Vocabulary, nodes: np.ndarray) -> np.ndarray:
    """The tokens that end at any of `nodes`."""
    first, last = vocabulary.token_start[nodes], vocabulary.token_start[nodes + 1]
    sizes = last - first
    at = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return vocabulary.token_ids[first[at] + within]
