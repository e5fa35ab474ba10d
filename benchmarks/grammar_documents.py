"""The schema of the batch measurement, and documents of it made from a seed."""

from __future__ import annotations

import json
import random

from .grammar_inputs import Case, Encode, text_of

_LINE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["description", "quantity", "unit_price"],
    "properties": {
        "description": {"type": "string", "maxLength": 120},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 100000},
        "unit_price": {"type": "number"},
    },
}

INVOICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["number", "date", "currency", "seller", "buyer", "lines", "total", "note"],
    "properties": {
        "number": {"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]{4,8}$"},
        "date": {"type": "string", "format": "date"},
        "currency": {"enum": ["EUR", "USD", "GBP", "JPY", "CHF"]},
        "seller": {"type": "string", "maxLength": 200},
        "buyer": {"type": "string", "maxLength": 200},
        "lines": {"type": "array", "items": _LINE, "minItems": 1, "maxItems": 30},
        "total": {"type": "number"},
        "paid": {"type": "boolean"},
        "note": {"type": ["string", "null"], "maxLength": 200},
    },
}

INVOICE_CASE = Case("invoice", "batch", json.dumps(INVOICE), [], {})

_SYLLABLES = [
    "ba",
    "be",
    "bo",
    "ka",
    "ko",
    "ku",
    "la",
    "le",
    "lo",
    "ma",
    "mi",
    "mo",
    "na",
    "no",
    "ra",
    "ri",
    "se",
    "ta",
]
_WORDS = [
    "steel",
    "bolt",
    "hinge",
    "paper",
    "box",
    "ink",
    "service",
    "hours",
    "travel",
    "Bremen",
    "Graz",
    "Utrecht",
    "Lyon",
]
_WORDS += [
    "maintenance",
    "licence",
    "packaging",
    "glass",
    "Süd",
    "café",
    "über",
    "GmbH",
    "Ltd",
    "&",
    "Co.",
    "12mm",
    "3/4",
]


def invoice_documents(encode: Encode, rounds: int, count: int, *, compact: bool) -> list[list[list[int]]]:
    """Tokens of `count` invoices in each of some rounds; no round repeats the texts of another."""
    return [
        [encode(text_of(_invoice(random.Random(f"{at}/{i}")), compact=compact)) for i in range(count)]
        for at in range(rounds)
    ]


def _words(rng: random.Random, most: int) -> str:
    made = [
        rng.choice(_WORDS) if rng.random() < 0.6 else "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))
        for _ in range(rng.randint(1, most))
    ]
    return " ".join(made)


def _invoice(rng: random.Random) -> dict[str, object]:
    lines = [
        {
            "description": _words(rng, 8)[:120],
            "quantity": rng.randint(1, 400),
            "unit_price": round(rng.uniform(0.5, 900), 2),
        }
        for _ in range(rng.randint(4, 7))
    ]
    total = round(sum(float(line["quantity"]) * float(line["unit_price"]) for line in lines), 2)  # type: ignore[arg-type]
    head = {
        "number": f"{rng.choice(['INV', 'RE', 'FA'])}-{rng.randint(1000, 99999999)}",
        "date": f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        "currency": rng.choice(["EUR", "USD", "GBP", "JPY", "CHF"]),
        "seller": _words(rng, 5),
        "buyer": _words(rng, 5),
        "lines": lines,
        "total": total,
    }
    if rng.random() < 0.5:
        head["paid"] = rng.random() < 0.5
    return {**head, "note": _words(rng, 12) if rng.random() < 0.7 else None}
