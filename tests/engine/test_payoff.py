"""When drafts are given up, and when they are tried again."""

from __future__ import annotations

import random

from rootform.engine.payoff import Payoff


def trial(payoff: Payoff, *, won: bool, n_tokens: int = 1024) -> None:
    """A trial's worth of tokens, each guessed, right or wrong."""
    for _ in range(n_tokens):
        payoff.note(1, pass_rows=1.0, n_drafted=1, n_kept=int(won), passes_saved=int(won))


def rest(payoff: Payoff) -> int:
    n = 0
    while payoff.resting:
        payoff.note(16, pass_rows=1.0)
        n += 16
    return n


def test_what_pays_goes_on_for_ever():
    payoff = Payoff()
    for _ in range(10):
        trial(payoff, won=True)
        assert not payoff.resting


def test_what_does_not_rests_ever_longer_and_is_tried_again():
    payoff, rests = Payoff(), []
    for _ in range(7):
        assert not payoff.resting
        trial(payoff, won=False)
        rests.append(rest(payoff))
    assert rests == [4096, 8192, 16384, 32768, 65536, 65536, 65536]
    trial(payoff, won=True)
    assert not payoff.resting
    trial(payoff, won=False)
    assert rest(payoff) == 4096  # it had paid in between


def test_what_is_learned_in_the_first_half_is_not_held_against_it():
    payoff = Payoff()
    trial(payoff, won=False, n_tokens=512)
    trial(payoff, won=True, n_tokens=512)
    assert not payoff.resting


def test_a_row_too_many_outweighs_a_pass_saved_where_many_share_it():
    """One guess in five right: worth it alone, where a pass costs as much as 32 rows, not in a batch of 64."""
    rng = random.Random(2)
    right = [rng.random() < 0.2 for _ in range(1024)]
    for pass_rows, resting in ((32.0, False), (0.5, True)):
        payoff = Payoff()
        for was in right:
            payoff.note(1 + was, pass_rows=pass_rows, n_drafted=1, n_kept=int(was), passes_saved=int(was))
        assert payoff.resting is resting


def test_guessing_itself_costs():
    """Nothing is ever likely enough to be guessed: even looking for it is given up."""
    payoff = Payoff()
    for _ in range(1024):
        payoff.note(1, pass_rows=32.0)
    assert payoff.resting
