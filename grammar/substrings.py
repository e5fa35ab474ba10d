"""All runs of successive pieces of a text, by its suffix automaton (Blumer et al. 1985)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .errors import GrammarError
from .expr import EPSILON, POOL
from .work import tick

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


def substrings_of(asked: Any, where: str) -> int:
    """llguidance's `%regex {"substring_words": text}`, or `substring_chars`, or `substring_chunks` with a list.

    Words are runs of letters, digits and `_`, runs of white space, and every other character by itself.
    """
    rewrite = 'write {"substring_words": "..."}, {"substring_chars": "..."} or {"substring_chunks": ["...", ...]}'
    kind, value = next(iter(asked.items())) if isinstance(asked, dict) and len(asked) == 1 else ("", None)
    if kind == "substring_chunks" and isinstance(value, list) and all(isinstance(c, str) for c in value):
        return substrings([chunk for chunk in value if chunk])
    if kind == "substring_chars" and isinstance(value, str):
        return substrings(list(value))
    if kind == "substring_words" and isinstance(value, str):
        return substrings(_WORDS.findall(value))
    raise GrammarError(where, "%regex", "this is none of the forms that are known", rewrite)


def substrings(chunks: Sequence[str]) -> int:
    """The texts `"".join(chunks[n:m])`, as an expression; of size linear in that of the chunks."""
    lengths, links, moves = [0], [-1], [{}]
    last = 0
    for chunk in chunks:
        tick()
        last = _extend(lengths, links, moves, last, chunk)
    texts = [EPSILON] * len(moves)
    for state in sorted(range(len(moves)), key=lambda s: -lengths[s]):
        tick()
        onward = [POOL.concat(POOL.literal(c.encode()), texts[after]) for c, after in moves[state].items()]
        texts[state] = POOL.alt(EPSILON, *onward)
    return texts[0]


def _extend(lengths: list[int], links: list[int], moves: list[dict[str, int]], last: int, chunk: str) -> int:
    """Make the automaton read one more chunk; the state that stands for all of them."""
    new = len(moves)
    lengths.append(lengths[last] + 1)
    links.append(0)
    moves.append({})
    at = last
    while at != -1 and chunk not in moves[at]:
        moves[at][chunk] = new
        at = links[at]
    if at == -1:
        return new
    old = moves[at][chunk]
    if lengths[old] == lengths[at] + 1:
        links[new] = old
        return new
    copy = len(moves)
    lengths.append(lengths[at] + 1)
    links.append(links[old])
    moves.append(dict(moves[old]))
    links[old] = links[new] = copy
    while at != -1 and moves[at].get(chunk) == old:
        moves[at][chunk] = copy
        at = links[at]
    return new
