"""What compiled loops write into an automaton's tables, against plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rootform.grammar.address_kernels import N_ROWS, int64s
from rootform.grammar.addresses import Addresses
from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import POOL
from rootform.grammar.stacks import BOTTOM, LEVELS, Reader

SCHEMAS = [
    '{"type":"object","properties":{"a":{"type":"string","maxLength":4},"bc":{"enum":["x","xy",3]}}}',
    '{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string","pattern":"^a.*b"}]},"maxItems":5}',
    '{"type":"object","properties":{"n":{"$ref":"#"}},"additionalProperties":{"type":"number"}}',
]


def test_addresses_name_arrays_as_they_are_and_refuse_others() -> None:
    addresses, numbers = Addresses(), np.array([5, 6, 7], np.int64)
    addresses.put(int(N_ROWS), numbers)
    read = int64s(addresses.table, N_ROWS)
    read[1] = 60
    assert numbers.tolist() == [5, 60, 7]
    with pytest.raises(ValueError, match="axes"):
        addresses.put(int(N_ROWS), numbers[::2])


def test_contexts_are_equal_where_the_upper_entries_are(toy_bytes) -> None:
    automaton, rng = Automaton(toy_bytes), random.Random(3)
    stacks, entries = automaton.stacks, [POOL.literal(data) for data in (b"ab", b"ba", b"c")]
    made = [0]
    for _ in range(900):  # more than there is room for at first
        made.append(stacks.push(rng.choice(made[-40:]), rng.choice(entries)))
    seen: dict[tuple[int, ...], int] = {}
    names: dict[int, tuple[int, ...]] = {}
    for stack in set(made):
        above = stacks.entries(stack)
        for level in range(LEVELS - 1):
            upper = (*above, *[BOTTOM] * LEVELS)[:level]
            name = int(stacks.contexts[stack, level])
            assert seen.setdefault(upper, name) == name
            assert names.setdefault(name, upper) == upper
    whole = [int(stacks.contexts[stack, LEVELS - 1]) for stack in set(made)]
    assert len(set(whole)) == len(whole)
    assert not set(whole) & set(names)


def test_stacks_are_the_same_however_they_are_pushed(toy_bytes) -> None:
    automaton = Automaton(toy_bytes)
    entries = [POOL.literal(bytes([97 + i])) for i in range(20)]
    sequence = automaton._sequences.of(tuple(entries))
    stack = automaton.stacks.push_all(0, sequence)
    assert automaton.stacks.entries(stack) == entries[::-1]
    again = 0
    for entry in entries:
        again = automaton.stacks.push(again, entry)
    assert again == stack


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_loop_finds_the_masks_that_are_found_frame_by_frame(schema: str, toy_bytes) -> None:
    """Masks of states, whatever way they were come to, and where a token leads, against the slow ways of both."""
    automaton, rng = Automaton(toy_bytes), random.Random(5)
    root = automaton.compile(JsonSchema(schema))
    for _ in range(12):
        state, register, stack = automaton.start(root)
        for _ in range(25):
            row = automaton.row_at(state, register, stack)
            bits = automaton.rows[row].view(np.uint32).copy()
            reader = Reader(automaton.stacks, stack)
            slow, accepts = automaton._masks.mask(automaton._counting_from(state, register), reader)
            assert (slow == bits).all()
            assert bool(automaton.row_table.accepts[row]) == accepts
            allowed = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))
            tokens = [token for token in allowed.tolist() if token not in toy_bytes.eos_ids]
            assert automaton.row_table.ends[row] == (not tokens)
            assert len(allowed) > 64 or automaton.allowed(row).tolist() == allowed.tolist()
            if not tokens:
                break
            token = rng.choice(tokens)
            went = automaton._went(automaton._states[state], stack, token)
            after = automaton.after(state, register, stack, token)
            assert after is not None
            assert went.place is not None
            assert automaton._states[after[0]][:4] == went.place[:4]
            assert after[2] == automaton.stacks.push_all(went.stack, went.pushed)
            state, register, stack = after


def test_tables_grow_while_loops_add_to_them(toy_bytes) -> None:
    """More states, stacks, rows and transitions than there is room for at first; each is found again."""
    automaton = Automaton(toy_bytes)
    names = ",".join(f'"m{i}":{{"type":"object","properties":{{"k{i}":{{"const":{i}}}}}}}' for i in range(40))
    required = ",".join(f'"m{i}"' for i in range(40))
    schema = f'{{"type":"object","properties":{{{names}}},"required":[{required}],"additionalProperties":false}}'
    root = automaton.compile(JsonSchema(schema))
    text = b"{" + b",".join(b'"m%d":{"k%d":%d}' % (i, i, i) for i in range(40)) + b"}"
    passes = []
    for _ in range(2):
        place, rows = automaton.start(root), []
        for byte in text:
            rows.append(automaton.row_at(*place))
            after = automaton.after(*place, byte)
            assert after is not None
            place = after
        rows.append(automaton.row_at(*place))
        assert automaton.row_table.ends[rows[-1]]
        passes.append(rows)
    assert passes[0] == passes[1]
    assert automaton.n_states > 256
