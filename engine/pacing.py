"""What passes have cost, as the plan of the next one is told it. No clock here."""

from __future__ import annotations

from .costs import PassCosts, Work
from .plan import FIRST_TOKENS, Pace

_ALONE_EVERY = 16
_LATELY = 0.1


class Pacer:
    """Owns the prices of passes and the pace that follows from them.

    Of sixteen passes in a row one goes without prompts: as streams get longer, and a prompt with them, passes of both
    do not tell what the streams would take alone, which is what prompts are given time by.
    """

    def __init__(self, itl_s: float | None) -> None:
        self.pace = Pace(itl_s=itl_s)
        self._costs = PassCosts()
        self._n_mixed = 0  # passes in a row of prompts and decoding tokens

    def note(self, work: Work, drafted: float | None, seconds: float) -> None:
        """A pass took so long. drafted: guessed tokens of each sequence whose next token it chose; None: of none."""
        self._costs.note(work, seconds)
        pace = self.pace
        most, mean = pace.most_tokens, pace.drafted
        is_mixed = bool(work.prefill_tokens and work.decode_tokens)
        if is_mixed:  # twice as many as went well; a price of nothing is no price
            most = max(FIRST_TOKENS, 2 * min(work.prefill_tokens, most))
        if drafted is not None:
            mean += _LATELY * (drafted - mean)
        self._n_mixed = self._n_mixed + 1 if is_mixed else 0
        alone = self._n_mixed >= _ALONE_EVERY - 1
        self.pace = Pace(self._costs.prices, pace.itl_s, self._costs.slowness, mean, most, alone)
