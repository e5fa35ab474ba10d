"""Every kind of type: its schema compiles, an example of it is a value of the type, and what is no value is refused."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime as dt
import enum
import json
import random
import re
import uuid
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar

import annotated_types as at
import jsonschema
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.engine.types import RootformError
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.estimate import estimate
from rootform.grammar.example import BYTES
from rootform.programs.typed import typed_json

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Partial(TypedDict, total=False):
    seen: bool


@dataclasses.dataclass
class Node:
    """A tree."""

    value: int
    kids: list[Node] = dataclasses.field(default_factory=list)
    parent: Optional[Node] = None  # noqa: UP045
    hidden: int = dataclasses.field(default=3, init=False)


class Box(msgspec.Struct, Generic[T]):
    item: T


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: list[T]


class Cat(msgspec.Struct, tag="cat", kw_only=True):
    name: str = "Tom"
    lives: Annotated[int, msgspec.Meta(ge=1, le=9)]


class Dog(msgspec.Struct, tag="dog"):
    good: bool


class Row(msgspec.Struct, array_like=True):
    a: int
    b: str = ""


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str


class Everything(msgspec.Struct):
    at: dt.datetime
    on: dt.date
    colour: Colour
    level: Level
    pet: Cat | Dog
    amounts: dict[str, Decimal]
    where: Point
    movie: Movie
    ids: tuple[UserId, ...]
    blob: bytes = b""
    note: str | None = None


class Order(pydantic.BaseModel):
    item: Annotated[str, pydantic.Field(min_length=2)]
    quantity: int = pydantic.Field(gt=0)
    price: Decimal
    when: dt.datetime
    tags: set[str] = set()
    shares: dict[int, float] = {}
    paid: Annotated[Decimal, pydantic.Field(decimal_places=2)] | None = None


class Circle(pydantic.BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(pydantic.BaseModel):
    kind: Literal["square"] = "square"
    side: float


class Drawing(pydantic.BaseModel):
    shapes: list[Annotated[Circle | Square, pydantic.Field(discriminator="kind")]]
    parent: Drawing | None = None


@pydantic.dataclasses.dataclass
class Checked:
    n: int


Meta = msgspec.Meta
TYPES: list[Any] = [
    *(None, bool, int, float, str, bytes, bytearray, Any, Decimal, uuid.UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
    *(Annotated[dt.datetime, Meta(tz=True)], Annotated[dt.datetime, Meta(tz=False)], Annotated[dt.time, Meta(tz=True)]),
    *(Literal["a", "b"], Literal[1, "x", None], Literal[True], Colour, Level, Flags),
    *(int | None, Optional[str], int | str | None, list[int] | dict[str, int] | None),  # noqa: UP045
    *(list, list[int], abc.Sequence[str], set[int], frozenset[str], tuple, tuple[int, str], tuple[int, ...], tuple[()]),
    *(dict, dict[str, int], abc.Mapping[str, list[bool]], dict[int, str], dict[Colour, int], dict[Level, int]),
    *(dict[dt.date, int], dict[uuid.UUID, int], dict[Literal["a", "b"], int], dict[Decimal, str], dict[float, str]),
    *(dict[Annotated[str, Meta(pattern="^[a-c]+$")], int], dict[Any, int]),
    *(Point, Movie, Partial, Node, Box[int], Box[Box[str]], Pair[int], Cat | Dog, Row, Renamed, UserId, Everything),
    *(list[Node], dict[str, Movie], Node | None, tuple[Point, Colour]),
    Annotated[int, Meta(gt=2, le=10, multiple_of=3)],
    Annotated[str, Meta(min_length=2, max_length=4, pattern="^[A-Z]")],
    Annotated[list[int], Meta(min_length=2, max_length=3)],
    Annotated[dict[str, int], Meta(max_length=2)],
    Annotated[int | None, at.Gt(2)],
    Annotated[str | list[int] | None, at.MaxLen(2)],
    Annotated[int, at.Gt(2), at.Le(5)],
    Annotated[float, at.Interval(ge=0, lt=1)],
    Annotated[Decimal, at.Ge(Decimal("0.25")), at.MultipleOf(Decimal("0.25"))],
    Annotated[str, at.Len(1, 3)],
    Annotated[list[str], at.MinLen(2)],
    Annotated[int, "a note of somebody else's", at.Unit("m")],
    *(Order, Drawing, list[Circle], Circle | None, dict[str, Square], Circle | Square, Checked),
]  # fmt: skip
NAMES = [str(kind).replace(f"{__name__}.", "") for kind in TYPES]


@pytest.mark.parametrize("kind", TYPES, ids=NAMES)
def test_an_example_of_its_schema_is_a_value_of_the_type(kind: Any) -> None:
    typed = typed_json(kind)
    schema = json.loads(typed.schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    text = estimate(JsonSchema(typed.schema)).example
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    value = typed.decode(text)
    if kind not in (Any, None) and isinstance(kind, type) and not hasattr(kind, "__required_keys__"):
        assert isinstance(value, getattr(kind, "__origin__", kind))


AUTOMATON = Automaton(BYTES)
EXPONENT = re.compile(r"[eE][+-]?([0-9]+)")


def random_text(schema: str, rng: random.Random) -> str:
    """A text of the schema, at random for a while and then by the shortest way out."""
    states = StateBatch(AUTOMATON)
    slot = states.open(AUTOMATON.compile(JsonSchema(schema)))
    slots, text = np.array([slot], np.int32), bytearray()
    for _ in range(rng.choice((20, 60, 200))):
        row_id = states.row_ids(slots)[0]
        bits = np.unpackbits(AUTOMATON.rows[row_id].view(np.uint8), bitorder="little")
        byte = int(rng.choice(np.flatnonzero(bits).tolist()))
        if byte == 256:
            return text.decode()
        assert states.advance(slots, np.array([byte], np.int32))[0]
        text.append(byte)
    return (text + bytes(states.closing(slot))).decode()


@pytest.mark.parametrize("kind", TYPES, ids=NAMES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_every_text_is_a_value_of_the_type(kind: Any, seed: int) -> None:
    typed = typed_json(kind)
    text = random_text(typed.schema, random.Random(seed))
    if not any(len(exponent[1]) > 2 for exponent in EXPONENT.finditer(text)):  # those may be beyond a float's range
        typed.decode(text)


def test_values_come_back_as_the_types_they_are() -> None:
    text = (
        '{"at":"2024-05-17T09:30:00+02:00","on":"2024-02-29","colour":"blue","level":2,"pet":{"type":"cat","lives":9},'
        '"amounts":{"a":1.10},"where":[1],"movie":{"title":"M"},"ids":[4],"blob":"YWI=","note":null}'
    )
    typed = typed_json(Everything)
    jsonschema.validate(json.loads(text), json.loads(typed.schema))
    value = typed.decode(text)
    offset = dt.timezone(dt.timedelta(hours=2))
    assert value == Everything(
        at=dt.datetime(2024, 5, 17, 9, 30, tzinfo=offset),
        on=dt.date(2024, 2, 29),
        colour=Colour.BLUE,
        level=Level.HIGH,
        pet=Cat(lives=9),
        amounts={"a": Decimal("1.10")},
        where=Point(1),
        movie={"title": "M"},
        ids=(UserId(4),),
        blob=b"ab",
    )
    assert str(value.amounts["a"]) == "1.10"


NO_VALUES = [
    (dt.datetime, ['"2023-02-29T00:00:00Z"', '"0000-01-01T00:00:00"', '"2024-01-01T00:00:60Z"', '"2024-01-01"']),
    (Annotated[dt.datetime, Meta(tz=False)], ['"2024-01-01T00:00:00Z"']),
    (dt.date, ['"2100-02-29"', '"2024-13-01"', '"0000-01-01"']),
    (dt.timedelta, ['"P"', '"PT"', '"P1Y"', '"P1W"', '"P1DT"', "12"]),
    (bytes, ['"YQ"', '"!"']),
    (Decimal, ['"1.5"', "true"]),
    (dict[int, int], ['{"01":1}', '{"a":1}', '{"1.0":1}']),
    (dict[Colour, int], ['{"green":1}']),
    (tuple[int, str], ["[1]", '[1,"a",2]']),
    (Point, ["[]", "[1,2,3]", '{"x":1}']),
    (Movie, ['{"year":1}', '{"title":"a","more":1}']),
    (Annotated[int, at.Gt(2)], ["2"]),
    (Annotated[int | None, at.Gt(2)], ["2"]),
    (Annotated[set[int], Meta(min_length=2)], ["[1,1]"]),
    (list[Circle], ['[{"radius":1,"more":2}]']),
    (Drawing, ['{"shapes":[{"radius":1}]}']),
    (list[Order], ['[{"item":"tea","quantity":1,"price":"1","when":"2024-05-17T09:30:00Z"}]']),
    (dict[str, Order], ['{"a":{"item":"tea","quantity":1,"price":1,"when":"0000-05-17T09:30:00Z"}}']),
]


@pytest.mark.parametrize(("kind", "texts"), NO_VALUES, ids=[str(kind) for kind, _ in NO_VALUES])
def test_what_is_no_value_is_not_in_the_schema(kind: Any, texts: list[str]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(typed_json(kind).schema))
    assert [text for text in texts if validator.is_valid(json.loads(text))] == []


class Twice(msgspec.Struct):
    """Says what it is for."""

    box: Annotated[str, Meta(description="a box", extra_json_schema={"x-rootform": {"verbatim": True}})]
    size: int = 3


def test_what_is_said_of_a_type_is_in_its_schema() -> None:
    schema = json.loads(typed_json(Twice).schema)["$defs"]["Twice"]
    assert (schema["title"], schema["description"]) == ("Twice", "Says what it is for.")
    assert schema["properties"]["box"]["description"] == "a box"
    assert schema["properties"]["box"]["x-rootform"] == {"verbatim": True}
    assert schema["properties"]["size"] == {"type": "integer", "default": 3}
    assert "description" not in json.loads(typed_json(Point).schema)["$defs"]["Point"]


def test_types_of_one_name_are_told_apart() -> None:
    one, two = (dataclasses.make_dataclass("Same", [(name, int)]) for name in "ab")
    definitions = json.loads(typed_json(tuple[one, two]).schema)["$defs"]  # type: ignore[valid-type]
    assert {name: list(schema["properties"]) for name, schema in definitions.items()} == {
        "Same": ["a"],
        "Same_2": ["b"],
    }


class Mixed(enum.Enum):
    A = 1
    B = "b"


class Opaque:
    pass


@dataclasses.dataclass
class Holder:
    inner: dict[str, list[Opaque]]


@dataclasses.dataclass
class HoldsModel:
    model: Circle


REFUSED = [
    (Opaque, "Opaque: it has no JSON Schema; use a msgspec Struct"),
    (Holder, r"Opaque at Holder\.inner\[\.\.\.\]\[\]: it has no JSON Schema"),
    (HoldsModel, r"Circle at HoldsModel\.model: it has no JSON Schema; .*Pydantic models stand alone"),
    (complex, "complex: it has no JSON Schema"),
    (Mixed, "Mixed.* cannot be decoded: Enums must contain either all str or all int"),
    (Node | Movie, "cannot be decoded: .*more than one dict-like.*; use Structs with a tag"),
    (dict[tuple[int, int], int], r"tuple\[int, int\].*keys of JSON objects are strings"),
    (Annotated[int, at.Predicate(bool)], "Predicate cannot be said in a JSON Schema; leave it out"),
    (Annotated[str, Meta(gt=3)], "gt means nothing for this type"),
    (Annotated[int, Meta(min_length=3)], "a length means nothing for this type"),
    (Annotated[bytes, Meta(max_length=3)], "maxLength means nothing for this type"),
    (Annotated[int, pydantic.Field(gt=3)], "FieldInfo of Pydantic means something in Pydantic's own models alone"),
    (Annotated[Decimal, at.Gt(Decimal("1e-400"))], "is no number that JSON can say exactly"),
]


@pytest.mark.parametrize(("kind", "message"), REFUSED, ids=[str(kind) for kind, _ in REFUSED])
def test_types_without_an_exact_schema_are_refused(kind: Any, message: str) -> None:
    with pytest.raises(RootformError, match=message):
        typed_json(kind)


def test_text_that_is_no_value_is_told() -> None:
    with pytest.raises(RootformError, match=r"the result '1e999' is no value of <class 'float'>: Number out of range"):
        typed_json(float).decode("1e999")
