"""A tokenizer's tokens as a byte trie laid out in arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .alphabet import alphabet_of


class Vocabulary:
    """The tokens a model may emit. Never changes.

    tokens: the bytes of each ordinary token by id; b"" is a token no constraint ever allows (special, unused).
    eos_ids: the tokens that end a sequence; their own bytes, if any, are never allowed.
    size: width of the model's logits; ids from len(tokens) on are never allowed.
    token_bytes: how many bytes each token has, (len(tokens),) int32.
    text: those bytes, token after token, uint8; of token i: text[text_start[i] : text_start[i + 1]], int64.
    alphabet: the characters that the tokens can spell, whatever else is spelled; None: all there are.

    The trie, in preorder; node 0 is the root: `node_byte` uint8, `node_depth` int32, `node_end` int32 (one past the
    last node below), `node_deepest` int32, the depth of the deepest node below or of itself, and the tokens that end at
    node i: token_ids[token_start[i] : token_start[i + 1]], int32. The children of node i: child_node[child_start[i] :
    child_start[i + 1]], int32; the byte to each: `child_byte`, uint8. All but the depths, in the order that compiled
    walks take them: `trie`. parents: by byte the nodes with a child by it, ascending, int32.
    """

    def __init__(self, tokens: Sequence[bytes], eos_ids: Sequence[int], size: int) -> None:
        if size < len(tokens):
            raise ValueError(f"the logits are {size} wide, which is less than the {len(tokens)} tokens")
        if not eos_ids or not all(0 <= token < size for token in eos_ids):
            raise ValueError(f"eos_ids must be one or more token ids below {size}, not {list(eos_ids)}")
        self.eos_ids = tuple(sorted(set(eos_ids)))
        self.size = size
        self.words = (size + 31) // 32
        self.tokens = tuple(b"" if i in self.eos_ids else bytes(token) for i, token in enumerate(tokens))
        self.max_token_bytes = max(map(len, self.tokens), default=0)
        self.by_bytes: dict[bytes, int] = {}
        for i, token in enumerate(self.tokens):
            if token:
                self.by_bytes.setdefault(token, i)
        if not self.by_bytes:
            raise ValueError("no token of the vocabulary has any bytes")
        self.token_bytes = np.array([len(token) for token in self.tokens], np.int32)
        self.text = np.frombuffer(bytearray().join(self.tokens), np.uint8)  # not of bytes: loops know it by its type
        self.text_start = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.token_bytes, dtype=np.int64)])
        single_bytes = sum(1 << byte for byte in range(256) if bytes([byte]) in self.by_bytes)
        self.alphabet = alphabet_of(self.by_bytes, single_bytes)
        self._build_trie()

    def spell(self, text: bytes) -> tuple[int, ...]:
        """`text` in as few tokens as it takes, longer ones first. Raises ValueError where no tokens make it up."""
        fewest: list[tuple[int, int]] = [(0, 0)]  # for each rest of the text, from the end: tokens, bytes of the first
        for start in range(len(text) - 1, -1, -1):
            best = (len(text) + 1, 0)
            for length in range(1, min(self.max_token_bytes, len(text) - start) + 1):
                count = fewest[len(text) - start - length][0] + 1
                if count <= best[0] and text[start : start + length] in self.by_bytes:
                    best = (count, length)
            fewest.append(best)
        tokens, start = [], 0
        while start < len(text):
            length = fewest[len(text) - start][1]
            if length == 0:
                raise ValueError(f"no tokens of the vocabulary make up {text[start:]!r}")
            tokens.append(self.by_bytes[text[start : start + length]])
            start += length
        return tuple(tokens)

    def without_bytes(self, mask: int) -> np.ndarray:
        """The tokens with bytes, none of which is one of these, (size,) bool. mask: bit b for byte b."""
        is_in = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
        met = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_in[self.text], dtype=np.int64)])
        without = np.zeros(self.size, bool)
        n_met = met[self.text_start[1:]] - met[self.text_start[:-1]]
        without[: len(self.tokens)] = (n_met == 0) & (self.token_bytes > 0)
        return without

    def _build_trie(self) -> None:
        order = sorted((i for i, token in enumerate(self.tokens) if token), key=self.tokens.__getitem__)
        node_bytes = bytearray(1)
        depths, owners = [0], []
        before = b""
        for i in order:
            token = self.tokens[i]
            shared = _common_prefix(before, token)
            node_bytes += token[shared:]
            depths.extend(range(shared + 1, len(token) + 1))
            owners.append(len(depths) - 1)
            before = token
        self.node_byte = np.frombuffer(node_bytes, np.uint8)
        self.node_depth = np.array(depths, np.int32)
        self.node_end = _subtree_ends(depths)
        self.node_deepest = _deepest(self.node_depth, self.node_end)
        self.child_start, self.child_node = _children(depths)
        self.child_byte = self.node_byte[self.child_node]
        self.token_ids = np.array(order, np.int32)
        self.token_start = np.searchsorted(np.array(owners), np.arange(len(depths) + 1)).astype(np.int32)
        children = (self.child_start, self.child_node, self.child_byte)
        by_byte = np.argsort(self.child_byte, kind="stable")
        parents = np.repeat(np.arange(len(depths), dtype=np.int32), np.diff(self.child_start))[by_byte]
        self.parents = np.split(parents, np.searchsorted(self.child_byte[by_byte], np.arange(1, 256)))
        self.trie = (*children, self.node_byte, self.node_end, self.token_start, self.token_ids)


def _common_prefix(a: bytes, b: bytes) -> int:
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])


def _subtree_ends(depths: list[int]) -> np.ndarray:
    ends = np.full(len(depths), len(depths), np.int32)
    path: list[int] = []
    for node, depth in enumerate(depths):
        while len(path) > depth:
            ends[path.pop()] = node
        path.append(node)
    return ends


def _deepest(depths: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The largest depth in each range of nodes from node to end."""
    ranges = np.stack([np.arange(len(ends)), ends], 1).ravel()
    return np.maximum.reduceat(np.append(depths, 0), ranges)[::2].astype(np.int32)


def _children(depths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Children of every node of a preorder: those of node i are children[starts[i] : starts[i + 1]]."""
    latest = [0] * (max(depths) + 1)
    parents = []
    for node, depth in enumerate(depths):
        latest[depth] = node
        parents.append(latest[depth - 1] if depth else -1)
    of = np.array(parents[1:], np.int64)
    children = (np.argsort(of, kind="stable") + 1).astype(np.int32)
    starts = np.searchsorted(of[children - 1], np.arange(len(depths) + 1)).astype(np.int32)
    return starts, children
