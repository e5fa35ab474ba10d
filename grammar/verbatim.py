"""Verbatim values: strings that stand in a document, as states of an automaton over its sorted suffixes.

A document is laid out as it is spelled inside a JSON string: every character one spelling, raw where JSON allows that,
so that a value is a run of whole spellings. The places at which values may begin are sorted by what follows them (a
suffix array, by prefix doubling: Manber and Myers 1993); then the places that one beginning of a value has in the
document stand side by side, and a state is such an interval. It has the answers of a suffix automaton, without its
tables of edges: a state is five ints and a step two binary searches.

A document lives as long as the expressions made of it: nothing else holds it but the caller.
"""

from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from bisect import bisect_left, bisect_right
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from .machine_code import compiled

_NO_BYTE = -1  # behind the document, and where it has half a surrogate pair, which no JSON text can carry
_FAR = 1 << 30
_KEY_BITS = 62


class Span(NamedTuple):
    """The rest of a value of which the beginning is known.

    first, last: interval of `IndexedText.places` at which the beginning stands; depth: its bytes.
    least, most: characters that have yet to begin (None: any number).
    """

    text: IndexedText
    first: int
    last: int
    depth: int
    least: int
    most: int | None


class IndexedText:
    """A document in which runs of characters can be looked up byte by byte. Never changes; use `indexed`.

    words: a value begins and ends at the edge of a word or outside of words, so that no word is cut in two.

    data: int16, the spelled bytes, -1 where nothing can be. begins: int32, the byte at which each character begins, and
    the end. char_at: int32, for each byte the first character that begins there or behind. next_cut: int32, for each
    character the first one from there on before which a value may end. stop: int32, for each character the one before
    which every value has to end. places: int32, bytes at which a value may begin, sorted by what follows; then every
    byte, so that a single place is an interval too.
    """

    def __init__(self, document: str, *, words: bool) -> None:
        points = np.frombuffer(document.encode("utf-32-le", "surrogatepass"), np.uint32)
        broken = (points >= 0xD800) & (points <= 0xDFFF)
        lengths = _spelled_lengths(points)
        self.begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        spelled = json.dumps(document, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
        self.data = np.append(np.frombuffer(spelled, np.uint8).astype(np.int16), np.int16(_NO_BYTE))
        self.data[:-1][np.repeat(broken, lengths)] = _NO_BYTE
        count = len(points)
        self.char_at = np.searchsorted(self.begins, np.arange(len(self.data))).astype(np.int32)
        self.stop = _next(np.append(broken, True), count)
        cuts = _edges_of_words(document) if words else np.ones(count + 1, bool)
        self.next_cut = _next(cuts, count)
        ranked = np.argsort(_ranks(points, broken, self.begins, self.data))
        starts = ranked[cuts[ranked] & ~broken[ranked]]
        self.n_starts = len(starts)
        self.places = np.concatenate([self.begins[starts], np.arange(len(self.data))]).astype(np.int32)

    @property
    def nbytes(self) -> int:
        """Memory of the index."""
        arrays = (self.data, self.begins, self.char_at, self.next_cut, self.stop, self.places)
        return sum(array.nbytes for array in arrays)

    def start(self, least: int, most: int | None) -> Span | None:
        """The whole of a value of least to most characters; None when there is none but, perhaps, the empty one."""
        return self._normal(Span(self, 0, self.n_starts, 0, least, most))

    def step(self, span: Span, byte: int) -> Span | None:
        """What is left behind `byte`; None when no value goes on with it."""
        _, first, last, depth, least, most = span
        if self._at_boundary(span):
            if most == 0:
                return None
            least, most = max(least - 1, 0), None if most is None else most - 1
        places, data = self.places, self.data

        def byte_behind(i: int) -> int:
            return int(data[places[i] + depth])

        start = first + bisect_left(range(first, last), byte, key=byte_behind)
        stop = first + bisect_right(range(first, last), byte, key=byte_behind)
        return self._normal(Span(self, start, stop, depth + 1, least, most))

    def may_end(self, span: Span) -> bool:
        """Whether the value may be over."""
        if span.least or not self._at_boundary(span):
            return False
        chars = self.char_at[self.standing(span)]
        return bool((self.next_cut[chars] == chars).any())

    def next_bytes(self, span: Span) -> list[int]:
        """Bytes with which the document goes on at the places of the span, ascending; some may lead to no value."""
        if span.most == 0 and self._at_boundary(span):
            return []
        found = np.unique(self.data[self.standing(span)])
        return found[found != _NO_BYTE].tolist()

    def shortest(self, span: Span) -> bytes:
        """A shortest end of the value."""
        places = self.standing(span)
        ends = self._ends(span, places)
        lengths = np.where(ends < _FAR, self.begins[np.minimum(ends, len(self.begins) - 1)] - places, _FAR)
        best = int(lengths.argmin())
        start = int(places[best])
        return self.data[start : start + int(lengths[best])].astype(np.uint8).tobytes()

    def standing(self, span: Span) -> np.ndarray:
        """The bytes at which the rest of the value may begin."""
        return self.places[span.first : span.last] + span.depth

    def begins_character(self, at: int) -> bool:
        """Whether a character, or the end, begins at this byte."""
        return bool(self.begins[self.char_at[at]] == at)

    def may_end_at(self, at: int) -> bool:
        """Whether a value may end before this byte."""
        char = self.char_at[at]
        return bool(self.begins[char] == at and self.next_cut[char] == char)

    # -- inside -----------------------------------------------------------------------------------------------

    def _at_boundary(self, span: Span) -> bool:
        """Whether a character begins here. That is the same at all places of a span, as no spelling begins another."""
        return self.begins_character(int(self.places[span.first]) + span.depth)

    def _ends(self, span: Span, places: np.ndarray) -> np.ndarray:
        """The character before which the shortest value from each place ends; _FAR where there is none."""
        chars = self.char_at[places].astype(np.int64)
        ends = self.next_cut[np.minimum(chars + span.least, len(self.next_cut) - 1)].astype(np.int64)
        limits = self.stop[chars] if span.most is None else np.minimum(self.stop[chars], chars + span.most)
        return np.where(ends <= limits, ends, _FAR)

    def _normal(self, span: Span) -> Span | None:
        """The span in its one form: no limit that cannot be met, one place known by itself; None: it has no string."""
        if span.first >= span.last:
            return None
        if span.least or span.most is not None:
            places = self.standing(span)
            if int(self._ends(span, places).min()) >= _FAR:
                return None
            chars = self.char_at[places]
            if span.most is not None and int((self.stop[chars] - chars).max()) <= span.most:
                span = span._replace(most=None)
        if span.last - span.first == 1:
            at = self.n_starts + int(self.places[span.first]) + span.depth
            span = span._replace(first=at, last=at + 1, depth=0)
        return span


_indexed: WeakValueDictionary[tuple[bytes, bool], IndexedText] = WeakValueDictionary()
_lock = threading.Lock()


def indexed(document: str, *, words: bool = False) -> IndexedText:
    """The index of a document; the same one for the same document as long as anybody uses it."""
    key = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest(), words
    known = _indexed.get(key)
    if known is None:
        made = IndexedText(document, words=words)
        with _lock:
            known = _indexed.setdefault(key, made)
    return known


def occurrence(document: str, value: str, *, words: bool = False) -> int | None:
    """Where in the document the value first stands as `indexed` would allow it, in code points; None: nowhere."""
    start = document.find(value)
    while start >= 0:
        end = start + len(value)
        if not words or not value or (_is_edge(document, start) and _is_edge(document, end)):
            return start
        start = document.find(value, start + 1)
    return None


# -- words ----------------------------------------------------------------------------------------------------


def _is_word(char: str) -> bool:
    """Letters and digits of all scripts with the marks that belong to them, and `_`."""
    return char == "_" or char.isalnum() or unicodedata.category(char)[0] == "M"


def _is_edge(document: str, at: int) -> bool:
    inside = 0 < at < len(document)
    return not (inside and _is_word(document[at - 1]) and _is_word(document[at]))


def _edges_of_words(document: str) -> np.ndarray:
    """For each character, and the end, whether no word goes on from the one before it, (n + 1,) bool."""
    word_characters = {char for char in set(document) if _is_word(char)}
    word = np.fromiter((char in word_characters for char in document), bool, len(document))
    edges = np.ones(len(document) + 1, bool)
    if len(document) > 1:
        edges[1:-1] = ~(word[:-1] & word[1:])
    return edges


# -- layout ---------------------------------------------------------------------------------------------------


def _spelled_lengths(points: np.ndarray) -> np.ndarray:
    """Bytes that each code point takes inside a JSON string."""
    lengths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    lengths[points < 0x20] = 6
    lengths[np.isin(points, [8, 9, 10, 12, 13, 0x22, 0x5C])] = 2
    return lengths


def _next(marked: np.ndarray, count: int) -> np.ndarray:
    """For each of count + 1 indices the first marked one from there on, then one _FAR, (count + 2,) int32."""
    result = np.full(count + 2, _FAR, np.int32)
    result[: count + 1] = np.where(marked, np.arange(count + 1), _FAR)
    result[: count + 1] = np.minimum.accumulate(result[count::-1])[::-1]
    return result


def _ranks(points: np.ndarray, broken: np.ndarray, begins: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The rank of each suffix in the order of its spelled bytes, (n,) int64. Broken characters are the least."""
    if len(points) == 0:
        return np.zeros(0, np.int64)
    ranks = np.where(broken, 0, 1 + _order_of_spelling(points, begins, data))
    width = 1
    bits = int(ranks.max()).bit_length()
    while bits * 2 <= _KEY_BITS and width < len(points):  # several characters in one key
        ranks = (ranks << bits) | _shifted(ranks, width)
        bits, width = 2 * bits, 2 * width
    while True:
        ranks = _dense(ranks)
        if width >= len(points) or int(ranks.max()) == len(ranks):
            return ranks
        ranks = ranks * (len(ranks) + 1) + _shifted(ranks, width)
        width *= 2


def _order_of_spelling(points: np.ndarray, begins: np.ndarray, data: np.ndarray) -> np.ndarray:
    """For each character the rank of its spelling, in bytes, among those of the document."""
    _, firsts, which = np.unique(points, return_index=True, return_inverse=True)
    spellings = [data[begins[i] : begins[i + 1]].tolist() for i in firsts.tolist()]
    order = sorted(range(len(spellings)), key=spellings.__getitem__)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[which]


def _shifted(ranks: np.ndarray, width: int) -> np.ndarray:
    """The rank `width` further on, 0 behind the end."""
    result = np.zeros_like(ranks)
    result[: max(len(ranks) - width, 0)] = ranks[width:]
    return result


def _dense(keys: np.ndarray) -> np.ndarray:
    """Keys as ranks from 1 up, equal for equal keys."""
    order = np.argsort(keys)
    ordered = keys[order]
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = 1 + np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    return ranks


# -- a vocabulary's tokens ------------------------------------------------------------------------------------


def walk(
    span: Span, nodes: np.ndarray, node_byte: np.ndarray, node_depth: np.ndarray, node_end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The trie nodes below `nodes` that the span leads to: (n,) int32, and (n,) bool, whether the value may end there.

    The trie is a Vocabulary's, in preorder.
    """
    text = span.text
    most = int((node_end[nodes] - nodes - 1).sum())
    reached, over = np.empty(most, np.int32), np.empty(most, bool)
    count = _walk(
        np.ascontiguousarray(nodes, np.int32),
        node_byte,
        node_depth,
        node_end,
        text.data,
        text.begins,
        text.char_at,
        text.next_cut,
        text.stop,
        text.places,
        np.array([span.first, span.last, span.depth, span.least, _FAR if span.most is None else span.most], np.int64),
        int(node_depth.max()) + 1,
        reached,
        over,
    )
    return reached[:count].copy(), over[:count].copy()


@compiled
def _first_from(data: np.ndarray, places: np.ndarray, first: int, last: int, depth: int, byte: int) -> int:
    """The first of an interval's places at which the byte at `depth` is not less."""
    while first < last:
        middle = (first + last) // 2
        if data[places[middle] + depth] < byte:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def _walk(
    nodes: np.ndarray,
    node_byte: np.ndarray,
    node_depth: np.ndarray,
    node_end: np.ndarray,
    data: np.ndarray,
    begins: np.ndarray,
    char_at: np.ndarray,
    next_cut: np.ndarray,
    stop: np.ndarray,
    places: np.ndarray,
    span: np.ndarray,
    deepest: int,
    reached: np.ndarray,
    over: np.ndarray,
) -> int:
    """`walk` over plain arrays. span: first, last, depth, least, most. Returns the nodes written to `reached`."""
    path = np.empty((deepest + 1, 3), np.int64)  # first, last, characters begun, by depth below a node of `nodes`
    last_char = next_cut.shape[0] - 1
    count = 0
    for i in range(nodes.shape[0]):
        base = node_depth[nodes[i]]
        path[0, 0] = span[0]
        path[0, 1] = span[1]
        path[0, 2] = 0
        node = nodes[i] + 1
        while node < node_end[nodes[i]]:
            level = node_depth[node] - base
            depth = span[2] + level - 1
            before = path[level - 1, 0]
            behind = path[level - 1, 1]
            byte = node_byte[node]
            at = places[before] + depth
            begun = path[level - 1, 2]
            if begins[char_at[at]] == at:
                begun += 1
            first = _first_from(data, places, before, behind, depth, byte)
            last = _first_from(data, places, first, behind, depth, byte + 1)
            least = max(span[3] - begun, 0)
            most = span[4] - begun
            alive = False
            ends = False
            for j in range(first, last if most >= 0 else first):
                here = places[j] + depth + 1
                char = char_at[here]
                end = next_cut[min(char + least, last_char)]
                if end <= stop[char] and end <= char + most:
                    alive = True
                    if least > 0 or begins[char] != here:
                        break
                    if end == char:
                        ends = True
                        break
            if alive:
                reached[count] = node
                over[count] = ends
                count += 1
                path[level, 0] = first
                path[level, 1] = last
                path[level, 2] = begun
                node += 1
            else:
                node = node_end[node]
    return count


def warm() -> None:
    """Have the walk compiled, with next to nothing to walk."""
    span = indexed("a").start(0, None)
    assert span is not None
    trie = np.array([0, ord("a")], np.uint8), np.array([0, 1], np.int32), np.array([2, 2], np.int32)
    walk(span, np.zeros(1, np.int32), *trie)
