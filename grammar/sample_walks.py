"""Texts of a format of which first walks take long, walked before any sequence asks for them.

What is met on the way - transitions, and walks of the vocabulary inside of the string - is what sequences meet in
whatever schema the format stands; their masks take some ms then instead of 10 to 20 (measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import format_regex
from .json_values import string
from .pools import using
from .roots import Start
from .vocab import Vocabulary

if TYPE_CHECKING:
    from .automaton import Automaton

_PATTERNS = (b'"^[^a-z0-9]+(a|[bc])*$', b'"(?:a{1,2}\\\\d)?(b)', b'"[', b'"a.')


class SampleWalks:
    """Walks along samples of patterns, once, where an automaton has made that format. Names no automaton: no cycle."""

    def __init__(self) -> None:
        self._is_begun = False
        self._samples: list[tuple[int, ...]] = []  # tokens of those that are still to be walked, the last one first
        self._at: Start | None = None

    def go_on(self, automaton: Automaton) -> bool:
        """Walk one token further, some ms; False: there is nothing to do. Raises GrammarError where that cannot be.

        To be called with the automaton's lock.
        """
        if not self._is_begun:
            with using(automaton.exprs):
                self._is_begun = format_regex.is_made()
            if self._is_begun:
                self._samples = [spelled for text in _PATTERNS if (spelled := _spelled(automaton.vocabulary, text))]
        if not self._samples:
            return False
        if self._at is None:
            with using(automaton.exprs):
                self._at = automaton.start(automaton.root_of(string(format_regex.any_regex())))
        tokens = self._samples.pop()
        at, self._at = self._at, None
        after = automaton.after(*at, tokens[0])
        if after is not None:
            automaton.row_at(*after)
            if len(tokens) > 1:
                self._samples.append(tokens[1:])
                self._at = after
        return True


def _spelled(vocabulary: Vocabulary, text: bytes) -> tuple[int, ...]:
    """In tokens; none where they cannot spell it."""
    try:
        return vocabulary.spell(text)
    except ValueError:
        return ()
