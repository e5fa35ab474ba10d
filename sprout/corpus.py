"""SNIPS utterances: reading them, their schema order, and the variations they are trained on."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .pools import words
from .values import pseudo_words

# Every intent's slots, in about the order in which utterances name them. An answer names them in the order of its own
# utterance, which examples/snips.schema.json allows: copying then runs through the text once, from left to right.
SLOTS: dict[str, tuple[str, ...]] = {
    "AddToPlaylist": ("entity_name", "artist", "music_item", "playlist_owner", "playlist"),
    "BookRestaurant": (
        "sort", "restaurant_name", "restaurant_type", "party_size_description", "cuisine", "spatial_relation",
        "party_size_number", "served_dish", "timeRange", "facility", "poi", "city", "country", "state",
    ),
    "GetWeather": (
        "condition_description", "condition_temperature", "geographic_poi", "spatial_relation", "timeRange",
        "current_location", "city", "country", "state",
    ),
    "PlayMusic": (
        "track", "album", "sort", "playlist", "music_item", "genre", "artist", "year", "service",
    ),
    "RateBook": (
        "object_name", "object_select", "object_type", "object_part_of_series_type", "rating_value",
        "rating_unit", "best_rating",
    ),
    "SearchCreativeWork": ("object_type", "object_name"),
    "SearchScreeningEvent": (
        "object_type", "movie_name", "movie_type", "spatial_relation", "object_location_type",
        "location_name", "timeRange",
    ),
}  # fmt: skip

# Slots whose values are names anybody may invent; only these take made-up words.
OPEN_SLOTS = frozenset(
    words("album artist city entity_name geographic_poi movie_name object_name playlist poi restaurant_name track")
)

MAX_VALUE_CHARACTERS = 160
MAX_ITEMS = 4


@dataclass(frozen=True)
class Row:
    """One utterance: its text, its intent, and for each slot the spans of the text that fill it."""

    text: str
    intent: str
    slots: dict[str, list[str]]


@dataclass(frozen=True)
class Piece:
    """A stretch of an utterance: carrier words (slot None) or the value of one slot."""

    text: str
    slot: str | None


Pools = dict[str, list[str]]


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON-lines file, gzip-compressed or plain."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    return [Row(**json.loads(line)) for line in text.splitlines() if line.strip()]


def answer(row: Row) -> str:
    """The row's answer: compact JSON, slots in the order in which the utterance names them (the data's own order)."""
    return json.dumps({"intent": row.intent, "slots": row.slots}, ensure_ascii=False, separators=(",", ":"))


def schema() -> dict[str, object]:
    """The JSON Schema that every answer obeys."""
    item = {"type": "string", "minLength": 1, "maxLength": MAX_VALUE_CHARACTERS}
    values = {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ITEMS}

    def shape(intent: str) -> dict[str, object]:
        slots = dict.fromkeys(SLOTS[intent], values)
        return {
            "type": "object",
            "properties": {
                "intent": {"const": intent},
                "slots": {
                    "type": "object",
                    "properties": slots,
                    "additionalProperties": False,
                    "x-rootform": {"propertyOrder": "any"},
                },
            },
            "required": ["intent", "slots"],
            "additionalProperties": False,
        }

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An utterance's intent and the spans that fill its slots",
        "anyOf": [shape(intent) for intent in SLOTS],
    }


def align(row: Row) -> list[Piece] | None:
    """Cut the text into carrier words and values; None when the values cannot be laid out without overlap."""
    wanted = sorted(
        ((value, slot) for slot, values in row.slots.items() for value in values),
        key=lambda pair: -len(pair[0]),
    )
    spans: list[tuple[int, int, str]] = []
    for value, slot in wanted:
        place = free_place(row.text, value, spans)
        if place is None:
            return None
        spans.append((place, place + len(value), slot))
    pieces: list[Piece] = []
    end = 0
    for start, stop, slot in sorted(spans):
        pieces += [Piece(row.text[end:start], None), Piece(row.text[start:stop], slot)]
        end = stop
    return [*pieces, Piece(row.text[end:], None)]


def free_place(text: str, value: str, taken: list[tuple[int, int, str]]) -> int | None:
    """Where `value` stands as whole words and overlaps nothing taken; the first such place, or None."""
    for match in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text):
        if all(match.end() <= start or match.start() >= stop for start, stop, _ in taken):
            return match.start()
    return None


def value_pools(rows: Iterable[list[Piece]]) -> Pools:
    """Every distinct value of every slot, sorted so that a seed means the same everywhere."""
    found: dict[str, set[str]] = defaultdict(set)
    for pieces in rows:
        for piece in pieces:
            if piece.slot:
                found[piece.slot].add(piece.text)
    return {slot: sorted(values) for slot, values in found.items()}


def vary(row: Row, pieces: list[Piece], pools: Pools, rng: random.Random) -> Row:
    """The row as it is, or with other values, other carrier words, typing slips, other case or punctuation."""
    if rng.random() < 0.7:
        pieces = [swap_value(piece, pools, rng) for piece in pieces]
    if rng.random() < 0.25:
        pieces = [disturb_carrier(piece, rng) for piece in pieces]
    if rng.random() < 0.06:
        pieces = [Piece(piece.text.lower(), piece.slot) for piece in pieces]
    if rng.random() < 0.15:
        pieces = [*pieces[:-1], Piece(other_ending(pieces[-1].text, rng), pieces[-1].slot)]
    return join(row.intent, pieces)


def join(intent: str, pieces: list[Piece]) -> Row:
    """The row that these pieces spell."""
    slots: dict[str, list[str]] = {}
    for piece in pieces:
        if piece.slot:
            slots.setdefault(piece.slot, []).append(piece.text)
    return Row("".join(piece.text for piece in pieces), intent, slots)


def swap_value(piece: Piece, pools: Pools, rng: random.Random) -> Piece:
    """Three values in five become another one of their slot; names also become splices and made-up words."""
    if piece.slot is None or rng.random() < 0.4:
        return piece
    pool = pools[piece.slot]
    value = rng.choice(pool)
    if piece.slot in OPEN_SLOTS:
        chance = rng.random()
        if chance < 0.2:
            value = splice(value, rng.choice(pool), rng)
        elif chance < 0.35:
            value = with_pseudo_words(value, rng)
    return Piece(value, piece.slot)


def splice(first: str, second: str, rng: random.Random) -> str:
    """The beginning of one value and the end of another, cut between words."""
    head, tail = first.split(), second.split()
    words = head[: rng.randint(1, len(head))] + tail[rng.randint(0, len(tail) - 1) :]
    return " ".join(words[:7])


def with_pseudo_words(value: str, rng: random.Random) -> str:
    """Some words of the value, at least one, become made-up words in the same case."""
    words = value.split()
    chosen = set(rng.sample(range(len(words)), rng.randint(1, min(2, len(words)))))
    return " ".join(
        like_case(pseudo_words(1, rng), word) if index in chosen else word for index, word in enumerate(words)
    )


def like_case(word: str, model: str) -> str:
    """`word` in lower case when `model` is."""
    return word.lower() if model.islower() else word


def disturb_carrier(piece: Piece, rng: random.Random) -> Piece:
    """A carrier word in twenty-five becomes a made-up word and about as many get a typing slip."""
    if piece.slot:
        return piece

    def disturb(match: re.Match[str]) -> str:
        word, chance = match[0], rng.random()
        if chance < 0.04:
            return pseudo_words(1, rng).lower()
        return slip(word, rng) if chance < 0.08 and len(word) > 3 else word

    return Piece(re.sub(r"[^\W\d_]+", disturb, piece.text), None)


def slip(word: str, rng: random.Random) -> str:
    """The word with one letter left out, doubled or swapped with the next."""
    place = rng.randrange(1, len(word) - 1)
    left, here, after, right = word[:place], word[place], word[place + 1], word[place + 2 :]
    return left + rng.choice([after, here + here + after, after + here]) + right


def other_ending(text: str, rng: random.Random) -> str:
    """The last piece with its full stop or question mark taken away, or one added."""
    bare = text.rstrip(".?! ")
    return bare if bare != text else text + rng.choice([".", "?", "", "!"])
