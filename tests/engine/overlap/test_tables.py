"""A copy of a grammar's tables: old ones miss and are never wrong; and lanes that go on by it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.kernels.grammar import ADVANCED, NO_TRANSITION, NOT_ALLOWED, advance
from rootform.engine.lanes import Asked, Became, Lanes, Way
from rootform.engine.tables_there import TablesThere, _Growing
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema, Regex
from rootform.grammar.vocab import Vocabulary
from tests.engine.overlap.conftest import SCHEMAS, automaton_of


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_old_tables_are_never_wrong(seed: int) -> None:
    """Sequences walk on the host; a copy of the tables that is brought up now and then says the same, or nothing."""
    random = np.random.default_rng(seed)
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root) for _ in range(6)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    n_known = n_missed = 0
    for step in range(25):
        rows = batch.row_ids(slots)
        bits = np.unpackbits(automaton.rows[rows].view(np.uint8), axis=1, bitorder="little")
        choices = [np.flatnonzero(each) for each in bits]
        tokens = np.array([random.choice(each) if len(each) else 0 for each in choices], dtype=np.int32)
        tokens[random.random(len(slots)) < 0.1] = random.integers(0, 265)
        before = np.array([batch.save(int(slot)) for slot in slots], dtype=np.int32)
        if step == 12 and seed % 3 == 0:
            automaton.transitions.clear()
        there.bring_up()
        places = torch.from_numpy(before.copy())
        lane = torch.arange(len(slots), dtype=torch.int32)
        row_ids, outcomes = advance(places, lane, torch.from_numpy(tokens), there.tables, there.widest)
        went = batch.advance(slots, tokens)
        after, rows = np.array([batch.save(int(slot)) for slot in slots], np.int32), batch.row_ids(slots)
        for n, outcome in enumerate(outcomes.tolist()):
            if outcome == ADVANCED:
                assert went[n]
                assert (places[n].tolist(), int(row_ids[n])) == (after[n].tolist(), int(rows[n]))
                assert int(rows[n]) < len(there.rows)
                assert there.rows[int(rows[n])].tolist() == automaton.rows[int(rows[n])].tolist()
                n_known += 1
            elif outcome == NOT_ALLOWED:
                assert not went[n]
            else:
                n_missed += 1
        if step % 4 == 0:
            there.note_missed(int((outcomes > 1).sum()), before[outcomes.numpy() == NO_TRANSITION])
    assert n_missed > 0
    assert n_known > 0


def test_text_that_was_missed_a_few_times_is_known_whole() -> None:
    """In plain strings, all tokens that stay inside are told at once, and go with every copy from then on."""
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1))
    root = automaton.compile(JsonSchema('{"type": "array", "items": {"type": "string"}}'))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    lane = torch.zeros(1, dtype=torch.int32)
    outcomes: list[int] = []
    for token in [ord("["), ord('"'), *range(97, 123), *range(48, 58)]:
        batch.row_ids(slots)
        before = batch.where(slots)
        there.bring_up()
        _, outcome = advance(
            torch.from_numpy(before.copy()), lane, torch.tensor([token], dtype=torch.int32), there.tables, there.widest
        )
        assert batch.advance(slots, np.array([token], dtype=np.int32))[0]
        missed = outcome.numpy() == NO_TRANSITION
        there.note_missed(int(outcome[0] > 0), before[missed])
        outcomes.append(int(outcome[0]))
    assert outcomes.count(NO_TRANSITION) == 2 + 4
    assert outcomes[2 + 4 :] == [ADVANCED] * (26 + 10 - 4)


def test_only_rows_with_a_grammar_are_taken_on_by_it() -> None:
    """Lanes side by side, one with a grammar and one without, which stands where the other does all the same; and a
    lane goes on from its own place unless it is given one."""
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slot = batch.open(root)
    here = np.array([slot], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    made = Lanes(torch.zeros(4, dtype=torch.int32))
    ints, doubles = np.zeros(2, dtype=np.int32), np.zeros(2)
    way = Way(np.array([1, 0], dtype=np.int32), ints, doubles, doubles, doubles)
    start, text = batch.save(slot), b'{"name":"a'
    for n, unit in enumerate(text):  # the first time as the host goes, to fill the tables; then the device by itself
        row = batch.row_ids(here)
        assert row[0] >= 0
        assert batch.advance(here, np.array([unit], dtype=np.int32))[0], n
    last = int(batch.row_ids(here)[0])
    batch.restore(slot, start)
    there.note_missed(10**6)
    there.bring_up()
    for n, unit in enumerate(text):
        is_fresh = np.full(2, n == 0, dtype=np.int32)
        places = np.array([start, start] if n == 0 else [[0, 0, 0]] * 2, dtype=np.int32)
        row_ids = np.array([batch.row_ids(here)[0] if n == 0 else -1, -1], dtype=np.int32)
        logits = torch.zeros(2, automaton.vocabulary.size)
        logits[:, unit] = 9.0
        asked = Asked(np.array([2, 1], dtype=np.int32), way, is_fresh, places, row_ids, doubles)
        became = Became.of(made.take_on(logits, asked, there).numpy())
        assert became.tokens.tolist() == [unit, unit]
        assert became.outcomes.tolist() == [ADVANCED, 0]
        assert became.row_ids[1] == -1
    assert became.row_ids[0] == last


def test_tables_are_copied_whole_only_when_enough_was_missed() -> None:
    automaton, root = automaton_of(SCHEMAS[0])
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    seen = [there.tables.keys]

    def bring_up() -> bool:
        there.bring_up()
        is_new = there.tables.keys is not seen[0]
        seen[0] = there.tables.keys
        return is_new

    before = there.tables.keys.clone()
    batch.row_ids(slots)
    assert batch.advance(slots, np.array([ord("{")], dtype=np.int32))[0]
    assert seen[0].equal(before)  # the device's own
    assert not np.array_equal(automaton.transitions.keys, before.numpy())
    assert not bring_up()
    there.note_missed(10**6)
    assert bring_up()
    assert not bring_up()  # what was missed is made good
    assert there.tables.keys.numpy().tolist() == automaton.transitions.keys.tolist()


def test_a_whole_copy_has_what_was_found_of_states_since() -> None:
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    root = automaton.compile(JsonSchema('{"type": "array", "items": {"type": "string", "maxLength": 90}}'))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(root)], dtype=np.int32)
    there = TablesThere(automaton, torch.device("cpu"))
    for token in b'["abc':
        assert batch.advance(slots, np.array([token], dtype=np.int32))[0]
        there.bring_up()  # states that are new are copied before anything is known of them
        batch.row_ids(slots)
    n = automaton.n_states
    found = np.flatnonzero(there.tables.states[:n, 2].numpy() != automaton.states[:n, 2])
    assert len(found) > 0
    there.note_missed(10**6)
    there.bring_up()
    assert there.tables.states[:n].tolist() == automaton.states[:n].tolist()


def test_a_state_whose_tokens_are_known_is_not_guessed_at() -> None:
    words = [bytes([i]) for i in range(256)] + [bytes([a, b]) for a in range(97, 117) for b in range(97, 117)]
    automaton = Automaton(Vocabulary(words, [len(words)], len(words) + 1), use_compiled=False)
    there = TablesThere(automaton, torch.device("cpu"))
    batch = StateBatch(automaton)
    slots = np.array([batch.open(automaton.compile(Regex("[^!]*!")))], dtype=np.int32)
    batch.row_ids(slots)
    place = batch.where(slots)
    assert automaton.states[place[0, 0], 2] >= 0
    assert automaton.staying_tokens(int(place[0, 0]), int(place[0, 2])) is not None  # and yet
    there.bring_up()
    for _ in range(8):
        there.note_missed(0, place)
    there.bring_up()
    n = automaton.n_states
    assert there.tables.states[:n].tolist() == automaton.states[:n].tolist()


@given(st.lists(st.integers(0, 70), max_size=8), st.integers(1, 9))
def test_a_copy_of_what_grows_has_the_beginning_of_it(more: list[int], room: int) -> None:
    array = np.arange(1, 2 * sum(more) + 3, dtype=np.int32).reshape(-1, 2)
    copy = _Growing(array[:0], torch.device("cpu"), room)
    n = 0
    for each in more:
        n += each
        copy.top_up(array, n)
        assert copy.there[:n].numpy().tolist() == array[:n].tolist()
        copy.top_up(array, n // 2)  # never less
        assert copy.there[:n].numpy().tolist() == array[:n].tolist()
    array[:n] *= -1
    copy.top_up(array, n)
    assert (copy.there[:n] >= 0).all()
    copy.forget()
    copy.top_up(array, n)
    assert copy.there[:n].numpy().tolist() == array[:n].tolist()
