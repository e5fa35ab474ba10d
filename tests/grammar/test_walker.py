"""Walks of a trie, with and without machine code, against a plain walk."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from rootform.grammar import walk_kernels, walker
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
                if before == unit:
                    exits.add((node, count))
                continue
            units = count + (before == unit)
            for token in vocabulary.token_ids[vocabulary.token_start[child] : vocabulary.token_start[child + 1]]:
                tokens.add((int(token), after, units))
            if dfa.kinds[after] & HALTS:
                entries.add((child, after))
                continue
            if unit == NO_UNIT and dfa.kinds[after] & MAY_END and vocabulary.node_end[child] > child + 1:
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
            assert walked.tokens.shape[1] == len(found(walked)[0])
            assert is_counted or (np.diff(walked.exits[0]) > 0).all()


@pytest.mark.parametrize("use_compiled", [True, False])
@settings(max_examples=30, deadline=None)
@given(case=cases(), least=st.integers(1, 5))
def test_what_is_deep_in_the_trie_is_found_by_itself(
    use_compiled: bool, case: tuple[Vocabulary, list[str], list[int]], least: int
) -> None:
    vocabulary, patterns, _ = case
    pool = current().fork()
    with using(pool):
        dfa = Dfa(pool)
        state = dfa.state(POOL.and_(*[compile_pattern(each, mode="fullmatch", encoding="utf8") for each in patterns]))
        walker = Walker(vocabulary, dfa, Addresses(), use_compiled=use_compiled)
        tokens, exits, _ = found(walker.walk(state, NO_UNIT, np.zeros(1, np.int32), least=least))
        all_tokens, all_exits, _ = plainly(vocabulary, dfa, state, NO_UNIT, [0])
        assert tokens == {each for each in all_tokens if vocabulary.token_bytes[each[0]] >= least}
        assert exits == {each for each in all_exits if vocabulary.node_depth[each[0]] >= least}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), first=st.sets(st.sampled_from(b"abcd")))
def test_nodes_with_a_child_by_some_bytes(
    case: tuple[Vocabulary, list[str], list[int]], first: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, _, nodes = case
    walker_of = Walker(vocabulary, Dfa(current().fork()), Addresses(), use_compiled=True)
    children = {n: vocabulary.child_byte[vocabulary.child_start[n] : vocabulary.child_start[n + 1]] for n in nodes}
    wanted = [n for n in nodes if first & set(children[n].tolist())]
    mask = sum(1 << byte for byte in first)
    for at_least in (0, 1 << 20):
        monkeypatch.setattr(walker, "_MANY", 0)
        monkeypatch.setattr(walker, "_FEWER", at_least)
        for each in (nodes, nodes[::-1]):
            assert sorted(walker_of.towards(np.array(each, np.int32), mask).tolist()) == wanted


@settings(max_examples=50, deadline=None)
@given(case=cases())
def test_shortest_rests_are_no_shorter_than_they_are(case: tuple[Vocabulary, list[str], list[int]]) -> None:
    """And as short, where all transitions are known."""
    vocabulary, patterns, _ = case
    pool = current().fork()
    with using(pool):
        dfa = Dfa(pool)
        state = dfa.state(POOL.and_(*[compile_pattern(each, mode="fullmatch", encoding="utf8") for each in patterns]))
        Walker(vocabulary, dfa, Addresses(), use_compiled=True).walk(state, NO_UNIT, np.zeros(1, np.int32))
        for knows_all in (False, True):
            at = 1
            while knows_all and at < len(dfa):  # those that are met, too
                dfa.complete(at)
                at += 1
            states = np.arange(1, len(dfa), dtype=np.int32)
            rests, least = np.empty_like(states), np.zeros(len(dfa), np.int32)
            walk_kernels.rests(dfa.transitions, dfa.kinds, states, least, rests)
            assert not least.any()
            for each, rest in zip(states.tolist(), rests.tolist(), strict=True):
                item = dfa.expression(each)
                shortest = -1 if pool.is_empty(item) else pool.shortest_length(item)
                assert rest == shortest if knows_all or shortest < 0 else rest == -1 or rest >= shortest
