"""Walks of a trie, with and without machine code, against a plain walk."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rootform.grammar.addresses import Addresses
from rootform.grammar.dfa import DEAD, HALTS, MAY_END, Dfa
from rootform.grammar.expr import POOL
from rootform.grammar.places import NO_UNIT
from rootform.grammar.pools import current, using
from rootform.grammar.regex import compile_pattern
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.walker import Walked, Walker

PATTERNS = ["^[a-c]{2,4}$", "^(ab|a)*c?$", "^a[^b]{1,3}b*$", "^(a|b){0,2}(c[ab]*)?$", "^[^a]*$", "^(abc|abd|b)d*$"]
"""Loops have to ask the host for some transitions of two at once: whether anything is left."""


@st.composite
def cases(draw: Any) -> tuple[Vocabulary, list[str], list[int]]:
    texts = draw(st.lists(st.text("abcd", min_size=1, max_size=5), min_size=1, max_size=30, unique=True))
    vocabulary = Vocabulary([text.encode() for text in texts], [len(texts)], len(texts) + 1)
    nodes = draw(st.lists(st.integers(0, len(vocabulary.node_byte) - 1), min_size=1, max_size=2, unique=True))
    return vocabulary, draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True)), sorted(nodes)


def plainly(vocabulary: Vocabulary, dfa: Dfa, state: int, unit: int, nodes: list[int]) -> tuple[set[Any], ...]:
    tokens, exits, entries = set(), set(), set()
    todo = [(node, state, 0) for node in nodes]
    while todo:
        node, before, count = todo.pop()
        for at in range(vocabulary.child_start[node], vocabulary.child_start[node + 1]):
            child = int(vocabulary.child_node[at])
            after = dfa.step(before, int(vocabulary.child_byte[at]))
            if after == DEAD:
                continue
            units = count + (before == unit)
            for token in vocabulary.token_ids[vocabulary.token_start[child] : vocabulary.token_start[child + 1]]:
                tokens.add((int(token), after, units))
            if dfa.kinds[after] & HALTS:
                entries.add((child, after))
                continue
            may_end = after == unit if unit != NO_UNIT else dfa.kinds[after] & MAY_END
            if may_end and vocabulary.node_end[child] > child + 1:
                exits.add((child, units))
            todo.append((child, after, units))
    return tokens, exits, entries


def found(walked: Walked) -> tuple[set[Any], ...]:
    return tuple(set(map(tuple, each.tolist())) for each in (walked.tokens.T, walked.exits.T, walked.entries))


@pytest.mark.parametrize("use_compiled", [True, False])
@settings(max_examples=50, deadline=None)
@given(case=cases(), is_counted=st.booleans(), halts=st.booleans())
def test_walks_come_to_what_a_plain_one_does(
    use_compiled: bool, case: tuple[Vocabulary, list[str], list[int]], is_counted: bool, halts: bool
) -> None:
    vocabulary, patterns, nodes = case
    pool = current().fork()
    with using(pool):
        members = [compile_pattern(each, mode="fullmatch", encoding="utf8") for each in patterns]
        expression = POOL.and_(*members)
        if halts:
            expression = POOL.concat(expression, POOL.frame(POOL.literal(b"d")))
        dfa = Dfa(pool)
        state = dfa.state(expression)
        walker = Walker(vocabulary, dfa, Addresses(), use_compiled=use_compiled)
        unit = state if is_counted else NO_UNIT
        walked = walker.walk(state, unit, np.array(nodes, np.int32))
        assert found(walked) == plainly(vocabulary, dfa, state, unit, nodes)
        if len(nodes) == 1:
            again = walker.walk(state, unit, np.array(nodes, np.int32))  # all transitions known: in order, each once
            assert (np.diff(again.exits[0]) > 0).all()
            assert again.tokens.shape[1] == len(found(again)[0])
