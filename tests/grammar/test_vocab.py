"""The trie against the list of tokens it was made from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.vocab import Vocabulary

tokens_lists = st.lists(st.binary(max_size=4) | st.text("ab", max_size=4).map(str.encode), min_size=1, max_size=30)


@settings(deadline=None)
@given(tokens=tokens_lists)
def test_every_token_stands_at_the_end_of_its_own_path(tokens: list[bytes]) -> None:
    vocabulary = Vocabulary([b"x", *tokens], [len(tokens) + 1], len(tokens) + 2)
    path, found = [b""], {}
    for node in range(len(vocabulary.node_depth)):
        depth = int(vocabulary.node_depth[node])
        if node:
            path[depth:] = [path[depth - 1] + bytes([vocabulary.node_byte[node]])]
            below = [n for n in range(node, len(vocabulary.node_depth)) if n < vocabulary.node_end[node]]
            assert all(vocabulary.node_depth[n] > depth for n in below[1:])
            assert vocabulary.node_end[node] == len(vocabulary.node_depth) or (
                vocabulary.node_depth[vocabulary.node_end[node]] <= depth
            )
        for token in vocabulary.token_ids[vocabulary.token_start[node] : vocabulary.token_start[node + 1]].tolist():
            found[token] = path[depth]
    assert found == {i: token for i, token in enumerate(vocabulary.tokens) if token}


@settings(deadline=None)
@given(text=st.text("abc", max_size=12).map(str.encode))
def test_spelling_takes_the_fewest_tokens(text: bytes) -> None:
    vocabulary = Vocabulary([b"a", b"b", b"c", b"ab", b"bca", b"aaa"], [6], 7)
    fewest = [0]
    for end in range(1, len(text) + 1):
        fewest.append(1 + min(fewest[end - len(t)] for t in vocabulary.by_bytes if text[:end].endswith(t)))
    spelled = vocabulary.spell(text)
    assert b"".join(vocabulary.tokens[t] for t in spelled) == text
    assert len(spelled) == fewest[-1]


def test_what_cannot_be_spelled_says_so() -> None:
    with pytest.raises(ValueError, match="no tokens of the vocabulary make up b'az'"):
        Vocabulary([b"a"], [1], 2).spell(b"az")


@pytest.mark.parametrize(
    ("tokens", "eos_ids", "size", "message"),
    [
        ([b"a", b"b"], [1], 1, "logits are 1 wide, which is less than the 2 tokens"),
        ([b"a"], [], 4, "eos_ids must be one or more token ids below 4"),
        ([b"a"], [4], 4, "eos_ids must be one or more token ids below 4"),
        ([b"", b"a"], [1], 4, "no token of the vocabulary has any bytes"),
    ],
)
def test_refusals(tokens, eos_ids, size, message) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens, eos_ids, size)


@pytest.mark.parametrize("size", [31, 32, 33, 63, 64, 65])
def test_rows_are_as_wide_as_the_logits(size: int) -> None:
    assert Vocabulary([b"a"], [30], size).words == -(-size // 32)
