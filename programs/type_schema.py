"""Python types as JSON Schemas that accept what `msgspec` decodes to a value of the type, and nothing else.

msgspec's own schemas leave things out that decoding then refuses: the offset of a time, the keys of a dict, constraints
of annotated_types. With those a generated text would be valid and yet no value. What cannot be said exactly is refused.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime as dt
import enum
import inspect
import re
import types
import typing
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from ..engine.types import RootformError
from .type_limits import limited

Schema = dict[str, Any]

_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_DAYS = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
_FOURTH = "(0[48]|[2468][048]|[13579][26])"
_DATE = f"({_YEAR}-{_DAYS}|([0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29)"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_OFFSET = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_SECONDS = r"[0-9]{1,6}(\.[0-9]{1,6})?S"
_CLOCK = f"([0-9]{{1,6}}H([0-9]{{1,6}}M)?({_SECONDS})?|[0-9]{{1,6}}M({_SECONDS})?|{_SECONDS})"
_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
INTEGER_KEY = "-?(0|[1-9][0-9]{0,17})"
NUMBER_KEY = r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?"
"""How integers, and other numbers, are written as keys of objects."""


def text_of(pattern: str, **more: Any) -> Schema:
    """The schema of a string that is all of a pattern."""
    return {"type": "string", "pattern": f"^{pattern}$", **more}


def time_of(kind: type, tz: bool | None) -> Schema:
    """datetime or time. tz: with an offset, without, or (None) as it likes; as msgspec.Meta has it."""
    offset = {True: _OFFSET, False: "", None: f"{_OFFSET}?"}[tz]
    return text_of(f"{_DATE}T{_TIME}{offset}" if kind is dt.datetime else f"{_TIME}{offset}")


_PLAIN: dict[Any, Schema] = {
    Any: {},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": "number"},
    str: {"type": "string"},
    bytes: text_of(_BASE64, contentEncoding="base64"),
    bytearray: text_of(_BASE64, contentEncoding="base64"),
    uuid.UUID: {"type": "string", "format": "uuid"},
    dt.date: text_of(_DATE),
    dt.datetime: time_of(dt.datetime, None),
    dt.time: time_of(dt.time, None),
    dt.timedelta: text_of(f"-?P([0-9]{{1,8}}D(T{_CLOCK})?|T{_CLOCK})"),
}
_LISTS = {list, abc.Sequence, abc.MutableSequence, abc.Collection}
_SETS = {set, frozenset, abc.Set, abc.MutableSet}
_MAPS = {dict, abc.Mapping, abc.MutableMapping}
_WRAPPERS = {"Required", "NotRequired", "ReadOnly", "Final"}


class Field(NamedTuple):
    """A member of a class. required: it has no default."""

    name: str
    type: Any
    required: bool
    default: Any = msgspec.NODEFAULT


class TypeSchemas:
    """Makes schemas; classes are named in `definitions` and referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}
        self._path: list[str] = []

    def of(self, kind: Any) -> Schema:
        """The schema of a type. Raises RootformError that says where in the type something has none."""
        if isinstance(kind, abc.Hashable) and kind in _PLAIN:
            return dict(_PLAIN[kind])
        origin = get_origin(kind)
        if origin is Annotated:
            return self._annotated(kind)
        if origin is Literal:
            return {"enum": [self._literal(value) for value in get_args(kind)]}
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(option) for option in get_args(kind)]}
        if getattr(origin, "_name", None) in _WRAPPERS:
            return self.of(get_args(kind)[0])
        if isinstance(kind, typing.NewType):
            return self.of(kind.__supertype__)
        if isinstance(kind, typing.TypeVar):
            return self.of(kind.__bound__ or Any)
        if (stands_for := getattr(kind, "__value__", None)) is not None:  # `type X = ...`
            return self._named(kind, lambda: self.of(stands_for))
        return self._container(kind, origin or kind, get_args(kind))

    def refuse(self, kind: Any, why: str, rewrite: str) -> RootformError:
        """The error for a type, with the way to it."""
        way = "".join(self._path)
        return RootformError(f"{_name(kind)}{f' at {way}' if way else ''}: {why}; {rewrite}", param="schema")

    # -- containers -------------------------------------------------------------------------------------------

    def _container(self, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if origin in _LISTS or origin in _SETS:
            return {"type": "array", "items": self._at("[]", arguments[0])} if arguments else {"type": "array"}
        if origin is tuple:
            return self._tuple(arguments, bare=kind is tuple)
        if origin in _MAPS:
            return self._map(*arguments) if arguments else {"type": "object"}
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return {"title": origin.__name__, "enum": [member.value for member in origin]}
        if isinstance(origin, type) and not hasattr(origin, "__pydantic_validator__"):
            fields = self._fields(kind, origin)
            if fields is not None:
                return self._named(kind, lambda: self._class(origin, fields))
        raise self.refuse(
            kind,
            "it has no JSON Schema",
            "use a msgspec Struct, dataclass, TypedDict, NamedTuple, Enum, Literal, or a plain type; Pydantic models "
            "stand alone, or in lists, dicts and unions of their own",
        )

    def _tuple(self, arguments: tuple[Any, ...], *, bare: bool) -> Schema:
        if bare:
            return {"type": "array"}
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self._at("[]", arguments[0])}
        items = [self._at(f"[{i}]", item) for i, item in enumerate(arguments)]
        return _row(items, len(items))

    def _map(self, key: Any, value: Any) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self._at("[...]", value)}
        names = self._keys(key)
        return schema if names == {"type": "string"} else {"propertyNames": names} | schema

    def _keys(self, key: Any) -> Schema:
        """What the names of an object may be, for keys of a type."""
        if key is int:
            return text_of(INTEGER_KEY)
        if key in (float, Decimal):
            return text_of(NUMBER_KEY)
        schema = self.of(key)
        values = schema.get("enum")
        if values and all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
            return {"enum": [str(value) for value in values]}
        if schema.get("type") == "string":
            return schema
        if schema == {}:
            return {"type": "string"}
        raise self.refuse(key, "keys of JSON objects are strings", "use str, int, an Enum, a date or a UUID as key")

    def _literal(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value.value if isinstance(value, enum.Enum) else value
        raise self.refuse(value, "a Literal holds None, booleans, integers and strings", "use an Enum")

    def _at(self, step: str, kind: Any) -> Schema:
        self._path.append(step)
        try:
            return self.of(kind)
        finally:
            self._path.pop()

    def _annotated(self, kind: Any) -> Schema:
        inner, *metadata = get_args(kind)
        times = {dt.datetime, dt.time}
        tz = next((each.tz for each in metadata if isinstance(each, msgspec.Meta) and each.tz is not None), None)
        schema = time_of(inner, tz) if inner in times else self.of(inner)
        for each in metadata:
            try:
                schema = limited(schema, each)
            except ValueError as error:
                raise self.refuse(kind, str(error), "leave it out, and check the value yourself") from error
        if _is_set(inner) and schema.get("minItems", 0) > 1:  # else [1, 1] would count two, and its set one
            schema["uniqueItems"] = True
        return schema

    # -- classes ----------------------------------------------------------------------------------------------

    def _named(self, kind: Any, make: abc.Callable[[], Schema]) -> Schema:
        if kind not in self._names:
            plain = re.sub(r"\W+", "_", _name(kind)).strip("_")
            taken = set(self._names.values())
            name = next(n for n in (plain, *(f"{plain}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
            self._names[kind] = name
            self.definitions[name] = {}
            before, self._path = self._path, [name]
            self.definitions[name] = make()
            self._path = before
        return {"$ref": f"#/$defs/{self._names[kind]}"}

    def _fields(self, kind: Any, origin: type) -> list[Field] | None:
        """The members of a class; None: it is none that has them."""
        if issubclass(origin, msgspec.Struct):
            found = msgspec.structs.fields(kind)
            return [Field(each.encode_name, each.type, each.required, each.default) for each in found]
        if dataclasses.is_dataclass(origin):
            hints = self._hints(kind, origin)
            return [_of_dataclass(each, hints[each.name]) for each in dataclasses.fields(origin) if each.init]
        if hasattr(origin, "__required_keys__") and hasattr(origin, "__total__"):  # of a TypedDict, whoever made it
            by_class: frozenset[str] = getattr(origin, "__required_keys__")  # noqa: B009
            hints = self._hints(kind, origin)
            return [Field(name, hint, _is_required(hint, name in by_class)) for name, hint in hints.items()]
        if issubclass(origin, tuple) and hasattr(origin, "_fields"):
            hints, defaults = self._hints(kind, origin), getattr(origin, "_field_defaults")  # noqa: B009
            names: tuple[str, ...] = getattr(origin, "_fields")  # noqa: B009
            default = msgspec.NODEFAULT
            return [Field(n, hints.get(n, Any), n not in defaults, defaults.get(n, default)) for n in names]
        return None

    def _hints(self, kind: Any, origin: type) -> dict[str, Any]:
        """Types of the members, with the arguments of a generic class put in."""
        try:
            hints = typing.get_type_hints(origin, include_extras=True)
        except NameError as error:
            raise self.refuse(kind, f"an annotation cannot be resolved: {error}", "define it in the module") from error
        given = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
        return {name: _put_in(hint, given) for name, hint in hints.items()}

    def _class(self, origin: type, fields: list[Field]) -> Schema:
        config = origin.__struct_config__ if issubclass(origin, msgspec.Struct) else None
        tag = (
            []
            if config is None or config.tag is None
            else [Field(config.tag_field or "type", Literal[config.tag], True)]
        )
        members = [*tag, *fields]
        schemas: dict[str, Schema] = {}
        for each in members:
            schemas[each.name] = self._at(f".{each.name}", each.type)
            if each.default is None or isinstance(each.default, bool | int | float | str):
                schemas[each.name] = schemas[each.name] | {"default": _plain_value(each.default)}
        head: Schema = {"title": origin.__name__} | _described(origin)
        if issubclass(origin, tuple) or (config is not None and config.array_like):
            return head | _row(list(schemas.values()), sum(each.required for each in members))
        return head | {
            "type": "object",
            "properties": schemas,
            "required": [each.name for each in members if each.required],
            "additionalProperties": False,
        }


def _of_dataclass(field: dataclasses.Field[Any], hint: Any) -> Field:
    missing = dataclasses.MISSING
    required = field.default is missing and field.default_factory is missing
    return Field(field.name, hint, required, msgspec.NODEFAULT if field.default is missing else field.default)


def _is_required(hint: Any, by_class: bool) -> bool:
    """Whether a member of a TypedDict is; a class whose annotations are text does not know of its Required."""
    said = getattr(get_origin(hint), "_name", None)
    return {"Required": True, "NotRequired": False}.get(str(said), by_class)


def _row(items: list[Schema], least: int) -> Schema:
    """A list of these items, of which the last may be missing."""
    head = {"prefixItems": items} if items else {}
    return {"type": "array", **head, "items": False, "minItems": least, "maxItems": len(items)}


def _described(origin: type) -> Schema:
    """The class's own docstring; the ones that dataclasses and named tuples are given tell nothing."""
    text = origin.__dict__.get("__doc__")
    return {"description": inspect.cleandoc(text)} if text and not text.startswith(f"{origin.__name__}(") else {}


def _plain_value(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _is_set(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _SETS


def _put_in(hint: Any, given: dict[Any, Any]) -> Any:
    """The hint with type variables replaced."""
    if not given:
        return hint
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(each, each) for each in parameters)] if parameters else hint


def _name(kind: Any) -> str:
    if get_args(kind):
        return str(kind).replace("typing.", "") if get_origin(kind) is None else _generic_name(kind)
    return getattr(kind, "__name__", None) or str(kind)


def _generic_name(kind: Any) -> str:
    origin = get_origin(kind)
    return f"{getattr(origin, '__name__', origin)}[{', '.join(map(_name, get_args(kind)))}]"
