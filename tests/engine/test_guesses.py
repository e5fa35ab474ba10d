"""Guesses: an output is followed as copies and literals, and what came before comes to mind again."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rootform.engine.guesses import END, Contexts, Habits, Prompt, Records, Trail, sort_of, step

ALIKE = np.arange(100, dtype=np.int32)
SMALL = st.lists(st.integers(1, 4), min_size=1, max_size=12)
KEY, CLOSE, OTHER = 90, 91, 92


def learn(habits, prompt, output):
    """Follow a whole output; the tokens guessed for each of its places, likeliest first."""
    trail, guessed = Trail(), []
    for token in [*output, END]:
        guessed.append([guess.token for guess in habits.guesses(prompt, trail)])
        trail = habits.follow(prompt, trail, token)
    return guessed


@given(SMALL, st.integers(1, 5))
def test_places_are_where_the_token_stands(ids, token):
    prompt = Prompt(ids, ALIKE)
    assert prompt.places(token) == [place for place, each in enumerate(ids) if each == token]


@given(SMALL)
def test_places_are_found_by_the_two_tokens_before_them(ids):
    prompt = Prompt(ids, ALIKE)
    before = [END, END, *ids]
    for place in range(len(ids)):
        two = (before[place], before[place + 1])
        assert prompt.before(place) == two
        assert prompt.places_after(two) == [n for n in range(len(ids)) if (before[n], before[n + 1]) == two]


def test_a_token_is_found_without_its_space():
    alike = ALIKE.copy()
    alike[8] = 7  # 8 is 7 with a space before it
    prompt = Prompt([5, 8, 6], alike)
    assert prompt.places(7) == prompt.places(8) == [1]
    assert list(prompt.bare) == [5, 7, 6]
    assert [prompt.has(1, token) for token in (7, 8, 6)] == [True, True, False]


@given(SMALL, SMALL)
def test_a_copied_run_is_in_the_prompt_word_for_word(ids, output):
    prompt, trail, said = Prompt(ids, ALIKE), Trail(), []
    for token in output:
        places = prompt.places(token)
        trail = step(prompt, trail, token, place=places[0] if places else None)
        said.append(token)
        if trail.run:
            assert ids[trail.place] == token
            known = min(trail.run, 2)  # a run that moves to another place keeps at least its last two tokens
            assert ids[trail.place - known + 1 : trail.place + 1] == said[-known:]
        else:
            assert trail.literals[-1] == token


def test_a_run_moves_to_where_the_text_really_comes_from():
    prompt = Prompt([1, 2, 3, 9, 1, 2, 4, 5], ALIKE)
    trail = Trail()
    for token in (1, 2, 4):
        trail = step(prompt, trail, token, place=prompt.places(token)[0])
    assert (trail.place, trail.run) == (6, 3)
    assert step(prompt, trail, 9).literals == (9,)


def test_copying_goes_on_without_having_learned_anything():
    habits, prompt = Habits(0, Contexts()), Prompt([1, 2, 3, 4], ALIKE)
    trail = habits.follow(prompt, Trail(), 2)
    assert next(habits.guesses(prompt, trail)).token == 3


def test_keys_starts_and_ends_of_values_are_learned_from_other_documents():
    """Each document says `50 51 <name> 52`; the answer is KEY <name> CLOSE. Names are always new."""
    habits = Habits(0, Contexts())
    for n in range(6):
        name = [10 + 2 * n, 11 + 2 * n]
        prompt = Prompt([60 + n, 50, 51, *name, 52, 70 + n], ALIKE)
        output = [KEY, *name, CLOSE]
        guessed = learn(habits, prompt, output)
    assert [tokens[0] for tokens in guessed] == [*output, END]


@given(st.integers(0, 2**32))
def test_a_chance_is_the_share_of_guesses_that_were_right(seed):
    rng = random.Random(seed)
    records, right = Records(), 0
    met, other = sort_of(1, 1, True), sort_of(1, 2, True)
    for n in range(1, 200):
        was_right = rng.random() < 0.3
        right += was_right
        records.note(met, was_right)
        assert abs(records.chance(met) - right / n) <= 1 / n
    assert abs(records.chance(other) - right / 199) < 0.01  # of its kind, as nothing is known of the sort itself


def test_what_is_remembered_is_bounded_and_lately_met_contexts_stay():
    contexts = Contexts(most=50)
    habits = Habits(0, contexts)
    rng = random.Random(1)
    usual = Prompt([1, 2, 3], ALIKE)
    for _ in range(300):
        learn(habits, Prompt([rng.randrange(80) for _ in range(9)], ALIKE), [rng.randrange(80) for _ in range(5)])
        guessed = learn(habits, usual, [KEY, OTHER])
        assert len(contexts) <= 2 * 50
    assert [tokens[0] for tokens in guessed] == [KEY, OTHER, END]


def test_kinds_of_outputs_do_not_mix():
    contexts = Contexts()
    one, other = Habits(0, contexts), Habits(1, contexts)
    prompt = Prompt([1, 2, 3], ALIKE)
    for _ in range(3):
        learn(one, prompt, [KEY, OTHER])
    assert list(other.guesses(prompt, Trail())) == []
