"""Whether drafts pay for one kind of output: counted in rows of a pass, and no longer made while they do not.

Making a draft and learning from what came takes time too. Where outputs repeat nothing, all of that is lost, so drafts
are given up for a while, ever longer, and tried again: what a kind of output is like may change.
"""

from __future__ import annotations

_TRIAL_TOKENS = 1024  # of output; judged by the latter half, since at first nothing is known
_FIRST_REST = 4096
_LONGEST_REST = 65536
_ROWS_A_TOKEN = 0.1  # what guessing and learning cost for each token of output; 37 us measured, where a row takes 270


class Payoff:
    """Tells when to draft for one kind of output. Counts tokens, no time: the same outputs, the same answers."""

    def __init__(self) -> None:
        self._n_tokens = 0  # of the present trial or rest
        self._rows_won = 0.0
        self._rest = 0  # tokens of the present rest; 0: drafts are on trial
        self._next_rest = _FIRST_REST

    @property
    def resting(self) -> bool:
        """No drafts now, and nothing to be learned."""
        return self._rest > 0

    def note(
        self, n_tokens: int, *, pass_rows: float, n_drafted: int = 0, n_kept: int = 0, passes_saved: int = 0
    ) -> None:
        """An output went on by n_tokens in one pass, n_kept of them drafted ones, of n_drafted.

        passes_saved: how many passes more it would have taken.  pass_rows: this sequence's share of what a pass costs
        beside its rows, in rows.
        """
        self._n_tokens += n_tokens
        if self.resting:
            if self._n_tokens >= self._rest:
                self._n_tokens, self._rows_won, self._rest = 0, 0.0, 0
            return
        if self._n_tokens > _TRIAL_TOKENS // 2:
            self._rows_won += passes_saved * pass_rows + n_kept - n_drafted - _ROWS_A_TOKEN * n_tokens
        if self._n_tokens >= _TRIAL_TOKENS:
            self._judge()

    def _judge(self) -> None:
        if self._rows_won < 0:
            self._rest = self._next_rest
            self._next_rest = min(2 * self._next_rest, _LONGEST_REST)
        else:
            self._next_rest = _FIRST_REST
        self._n_tokens, self._rows_won = 0, 0.0
