"""Where generated documents get their values: pools of names, things and phrases, and made-up words.

Every pool is cut in two by position. Training draws from seven eighths; the unseen evaluation only from the
remaining eighth, so what it asks for was never a training value (made-up words aside, which repeat nowhere).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import pools

HELD_OUT_EVERY = 8

ONSETS = pools.words("b c d f g h k l m n p r s t v w z br ch cl dr fl gr kr pl sh sl st th tr")
VOWELS = pools.words("a e i o u a e i o ai ea io ou")
CODAS = ["", "", "", "n", "r", "l", "s", "t", "m", "nd", "rk", "x", "ck"]


def pseudo_words(count: int, rng: random.Random) -> str:
    """`count` capitalised words that mean nothing but can be pronounced."""
    return " ".join(pseudo_word(rng) for _ in range(count))


def pseudo_word(rng: random.Random) -> str:
    """One to three syllables, capitalised, at least three letters."""
    syllables = rng.choice([1, 2, 2, 2, 3])
    word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(syllables))
    return (word if len(word) > 2 else word + "no").capitalize()


@dataclass(frozen=True)
class Source:
    """A random generator together with the part of every pool it may draw from."""

    rng: random.Random
    held_out: bool = False

    def pick(self, pool: Sequence[str]) -> str:
        """One member of this source's part of the pool."""
        held = [value for place, value in enumerate(pool) if place % HELD_OUT_EVERY == 3]
        rest = [value for place, value in enumerate(pool) if place % HELD_OUT_EVERY != 3]
        return self.rng.choice(held if self.held_out and held else rest)

    def maybe_made_up(self, pool: Sequence[str], chance: float = 0.3) -> str:
        """A member of the pool or, so often, a made-up word."""
        return pseudo_word(self.rng) if self.rng.random() < chance else self.pick(pool)

    def digits(self, count: int) -> str:
        """So many digits, the first not zero."""
        return str(self.rng.randint(1, 9)) + "".join(str(self.rng.randint(0, 9)) for _ in range(count - 1))

    def either(self, *choices: str) -> str:
        """One of the choices; none is held out."""
        return self.rng.choice(choices)


def person(s: Source) -> str:
    first, last = s.maybe_made_up(pools.FIRST_NAMES, 0.15), s.maybe_made_up(pools.LAST_NAMES, 0.3)
    shape = s.rng.random()
    if shape < 0.08:
        return f"Dr. {first} {last}"
    if shape < 0.14:
        return f"{first} {s.either(*'ABCDEGHJKLMNPRST')}. {last}"
    if shape < 0.2:
        return f"{first} {last}-{s.pick(pools.LAST_NAMES)}"
    return first if shape < 0.23 else f"{first} {last}"


def role(s: Source) -> str:
    return s.pick(pools.ROLES) if s.rng.random() < 0.6 else f"{s.pick(pools.RANKS)} {s.pick(pools.FIELDS)}"


def company(s: Source) -> str:
    name = s.maybe_made_up(pools.LAST_NAMES + pools.COMPANY_WORDS, 0.4)
    shape = s.rng.random()
    if shape < 0.35:
        return f"{name} {s.pick(pools.TRADES)}"
    if shape < 0.6:
        return f"{name} {s.pick(pools.TRADES)} {s.pick(pools.LEGAL_FORMS)}"
    if shape < 0.75:
        return f"{name} & {s.maybe_made_up(pools.LAST_NAMES, 0.2)}"
    return f"{name} {s.pick(pools.LEGAL_FORMS)}" if shape < 0.93 else name


def phone(s: Source) -> str:
    d = s.digits
    return s.rng.choice(
        [
            f"+{d(2)} {d(3)} {d(6)}",
            f"+{d(2)} {d(2)} {d(4)} {d(4)}",
            f"({d(3)}) {d(3)}-{d(4)}",
            f"{d(3)}-{d(3)}-{d(4)}",
            f"0{d(3)} {d(6)}",
            f"0{d(2)} {d(4)} {d(4)}",
            f"{d(3)} {d(4)}",
            f"0{d(4)}/{d(5)}",
            f"+1 {d(3)} {d(3)} {d(4)}",
            f"{d(3)}.{d(3)}.{d(4)}",
        ]
    )


def email(s: Source) -> str:
    first, last = (s.maybe_made_up(pool).lower() for pool in (pools.FIRST_NAMES, pools.LAST_NAMES))
    user = s.either(f"{first}.{last}", f"{first[0]}.{last}", first, f"{first}_{last}", f"{last}{s.digits(2)}")
    if s.rng.random() < 0.15:
        user = s.either("info", "office", "hello", "support", "bookings", "contact")
    host = s.maybe_made_up([*pools.COMPANY_WORDS, *pools.MAIL_HOSTS], 0.5).lower()
    return f"{user}@{host.replace(' ', '')}.{s.either('com', 'org', 'net', 'co.uk', 'de', 'io', 'example')}"


def city(s: Source) -> str:
    return s.maybe_made_up(pools.CITIES, 0.2)


def date(s: Source) -> str:
    day, month = s.rng.randint(1, 28), s.either(*pools.MONTHS)
    year = s.rng.randint(2015, 2034)
    number = pools.MONTHS.index(month) + 1
    short = month[:3]
    return s.rng.choice(
        [
            f"{day} {month} {year}",
            f"{day} {month}",
            f"{month} {day}",
            f"{month} {day}, {year}",
            f"{day}{ordinal(day)} {month}",
            f"{month} {day}{ordinal(day)}",
            f"{short} {day}",
            f"{day} {short} {year}",
            f"{year}-{number:02}-{day:02}",
            f"{day:02}/{number:02}/{year}",
            f"{day}.{number}.{year}",
            f"{number}/{day}/{year}",
            f"{s.either(*pools.WEEKDAYS)}",
            f"{s.either(*pools.WEEKDAYS)} {day} {month}",
            f"{s.either(*pools.WEEKDAYS)}, {month} {day}",
            f"next {s.either(*pools.WEEKDAYS)}",
        ]
    )


def ordinal(day: int) -> str:
    """The English ending of a day's number."""
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def time(s: Source) -> str:
    hour, minute = s.rng.randint(1, 12), s.either("00", "15", "30", "45", "05", "20")
    late = s.rng.randint(13, 23)
    half = s.either("am", "pm", " am", " pm", " a.m.", " p.m.", " AM", " PM")
    return s.either(f"{hour}{half}", f"{hour}:{minute}{half}", f"{late}:{minute}", f"{hour:02}:{minute}", "noon")


def money(s: Source) -> str:
    whole, cents = s.digits(s.rng.choice([1, 1, 2, 2, 2, 3])), s.digits(1) + s.either("0", "5", "9", "4", "2")
    sign = s.either("$", "€", "£")
    return s.rng.choice(
        [
            f"{sign}{whole}.{cents}",
            f"{sign}{whole}.{cents}",
            f"{sign}{whole}",
            f"{whole}.{cents} {s.either('EUR', 'USD', 'GBP', 'CHF')}",
            f"{s.either('EUR', 'USD', 'CHF')} {whole}.{cents}",
            f"{whole} {s.either('euros', 'dollars', 'pounds', 'EUR')}",
            f"{whole},{cents} €",
        ]
    )


def event_price(s: Source) -> str:
    return s.either("free", "free of charge", "free entry", "no charge") if s.rng.random() < 0.2 else money(s)


def event_title(s: Source) -> str:
    theme, form = s.maybe_made_up(pools.EVENT_THEMES, 0.15), s.pick(pools.EVENT_FORMS)
    shape = s.rng.random()
    if shape < 0.6:
        return f"{theme} {form}"
    if shape < 0.75:
        return f"{s.either('Annual', 'Summer', 'Winter', 'Spring', 'Autumn', 'Monthly')} {theme} {form}"
    return f"{form} of {theme}" if shape < 0.85 else f"{theme} {form} {s.rng.randint(2020, 2034)}"


def venue(s: Source) -> str:
    shape = s.rng.random()
    if shape < 0.25:
        return f"{s.either('Room', 'Hall', 'Studio')} {s.either(*'ABCDEF123456789')}{s.either('', s.digits(2))}"
    name = s.maybe_made_up(pools.VENUE_WORDS + pools.LAST_NAMES, 0.3)
    if shape < 0.4:
        return f"{s.digits(2)} {name} {s.either('Street', 'Road', 'Avenue', 'Lane')}"
    lead = "the " if shape < 0.55 else ""
    return f"{lead}{name} {s.pick(pools.VENUE_FORMS)}"


def host(s: Source) -> str:
    shape = s.rng.random()
    if shape < 0.4:
        return person(s)
    if shape < 0.6:
        return company(s)
    return f"{s.either('the ', '')}{s.maybe_made_up(pools.CITIES, 0.3)} {s.pick(pools.CLUBS)}"


def item(s: Source) -> str:
    shape, thing = s.rng.random(), s.pick(pools.THINGS)
    if shape < 0.45:
        return f"{s.pick(pools.QUALITIES)} {thing}"
    if shape < 0.65:
        return thing
    if shape < 0.8:
        return f"{s.pick(pools.QUALITIES)} {s.pick(pools.QUALITIES)} {thing}"
    return f"{pseudo_word(s.rng)} {thing}" if shape < 0.9 else f"{thing} {s.either(*'ABCXZ')}{s.digits(2)}"


def quantity(s: Source) -> str:
    shape = s.rng.random()
    if shape < 0.65:
        return s.digits(s.rng.choice([1, 1, 2, 2, 3]))
    if shape < 0.85:
        return s.either("two", "three", "four", "five", "six", "ten", "twelve", "a dozen", "twenty")
    return f"{s.digits(s.rng.choice([1, 2]))} {s.either('boxes', 'pcs', 'packs', 'pairs', 'crates', 'kg', 'rolls')}"


def reference(s: Source) -> str:
    letters = "".join(s.either(*"ABCDEFGHKLMNPQRSTUVWXYZ") for _ in range(s.rng.randint(1, 3)))
    return s.rng.choice(
        [
            f"{letters}-{s.digits(s.rng.randint(3, 6))}",
            f"#{s.digits(s.rng.randint(4, 6))}",
            s.digits(s.rng.randint(5, 8)),
            f"{letters}{s.digits(s.rng.randint(3, 5))}",
            f"{s.rng.randint(2018, 2034)}-{s.digits(4)}",
            f"{s.either('INC', 'ORD', 'PO', 'TCK', 'REQ', 'SO', 'CASE')}-{s.digits(5)}",
        ]
    )


def product(s: Source) -> str:
    name = s.maybe_made_up(pools.PRODUCT_WORDS, 0.45)
    shape = s.rng.random()
    if shape < 0.35:
        return f"{name} {s.pick(pools.PRODUCT_FORMS)}"
    if shape < 0.6:
        return f"{name} {s.either('Pro', 'X', 'Mini', 'Max', 'Plus', 'One', 'Lite')}"
    return f"{name} {s.digits(s.rng.choice([1, 2, 3, 4]))}" if shape < 0.8 else f"{name}{s.pick(pools.PRODUCT_FORMS)}"


def problem(s: Source) -> str:
    clause = f"{s.pick(pools.PARTS)} {s.pick(pools.FAILURES)}"
    return f"{clause} {s.pick(pools.CIRCUMSTANCES)}" if s.rng.random() < 0.5 else clause


def priority(s: Source) -> str:
    return s.either("urgent", "high", "low", "normal", "medium", "critical", "P1", "P2", "P3", "High", "Low", "Urgent")


def shop(s: Source) -> str:
    shape = s.rng.random()
    name = s.maybe_made_up(pools.SHOP_WORDS + pools.LAST_NAMES, 0.35)
    if shape < 0.7:
        return f"{name} {s.pick(pools.SHOP_FORMS)}"
    return f"{name}'s {s.pick(pools.SHOP_FORMS)}" if shape < 0.85 else f"{s.pick(pools.SHOP_FORMS)} {name}"


def payment(s: Source) -> str:
    return s.rng.choice([*pools.PAYMENTS, f"{s.either('Visa', 'Mastercard', 'card')} ending {s.digits(4)}"])


Maker = Callable[[Source], str]
