"""A schema and the documents given with it: values by place, and what references point at.

A place is a URI and a JSON pointer in fragment form (RFC 6901): `#/properties/a` in the schema itself,
`https://example.com/a.json#/$defs/b` in a document that was given beside it. Nothing is ever fetched; the metaschemas
of the drafts are at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import msgspec

from .errors import GrammarError
from .schema_keywords import VOCABULARY_OF, Draft, draft_of
from .schema_text import Json, parse
from .work import tick

Scope = tuple[tuple[str, str], ...]
"""What dynamic references mean on the way taken: anchors with the place that the outermost resource gives each."""

SCHEMA_KEYWORDS = frozenset(
    {
        *("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
"""Keywords whose value is a schema."""

LIST_KEYWORDS = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""

MAP_KEYWORDS = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
"""Keywords whose value is an object of schemas."""

_RECURSIVE = ""  # stands for $recursiveAnchor among the dynamic anchors, which all have a name


def child(place: str, *steps: str | int) -> str:
    """The place inside `place` reached by these member names and positions."""
    for step in steps:
        place = f"{place}/{pointer_step(str(step))}"
    return place


def pointer_step(name: str) -> str:
    """A member name as a JSON pointer has it (RFC 6901, 3)."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


class Resource(msgspec.Struct):
    """A part of a document with an identifier of its own. unread: keywords that its dialect leaves out."""

    place: str
    uri: str
    draft: Draft
    unread: frozenset[str] = frozenset()
    anchors: dict[str, str] = msgspec.field(default_factory=dict)
    dynamic: dict[str, str] = msgspec.field(default_factory=dict)


class Document:
    """A parsed schema and the documents it may refer to. Nothing in it changes, apart from what is remembered.

    dialect: what the schema says in `$schema`, or "". draft: the one it is read as.
    """

    def __init__(self, text: str, draft: Draft | None = None, documents: Iterable[tuple[str, str]] = ()) -> None:
        """documents: URIs with the JSON text found there. Raises GrammarError when a text is no schema."""
        self.root = parse(text)
        if not isinstance(self.root, (dict, bool)):
            raise GrammarError("#", "", "a schema must be an object or a boolean", 'write {"type": ...}')
        said = self.root.get("$schema", "") if isinstance(self.root, dict) else ""
        self.dialect = said if isinstance(said, str) else ""
        self._roots: dict[str, Json] = {"": self.root}
        self._at: dict[str, Json] = {"#": self.root}
        self._texts = {"": text}
        self._resources: dict[str, Resource] = {}
        self._resource_at: dict[str, Resource] = {}
        self._has_dynamic = False
        for uri, other in documents:
            name = urldefrag(uri)[0]
            self._roots[name], self._texts[name] = parse(other), other
        self.draft: Draft = draft or self._dialect_of(self.dialect, "2020-12")[0]
        for uri in self._roots:
            self._identify(uri)

    def at(self, place: str) -> Json:
        """The value at a place. Raises KeyError when there is none."""
        if place not in self._at:
            uri, _, pointer = place.partition("#")
            parent, _, step = pointer.rpartition("/")
            self._at[place] = _member(self.at(f"{uri}#{parent}"), step) if pointer else self._roots[uri]
        return self._at[place]

    def know(self, place: str, schema: Json) -> None:
        """Say what stands at a place, to spare finding it."""
        self._at[place] = schema

    def forget(self) -> None:
        """Let go of everything; the document is of no more use."""
        self.root = None
        self._texts.clear()
        self._roots.clear()
        self._at.clear()

    @property
    def is_simple(self) -> bool:
        """Whether each schema is read alike: there is one resource, of which all keywords are read, without scopes."""
        return len(self._resource_at) == 1 and not self._has_dynamic and not self._resource_at["#"].unread

    def resource_of(self, place: str) -> Resource:
        """The resource that a place belongs to: the innermost one around it."""
        if len(self._resource_at) == 1:
            return self._resource_at["#"]
        passed = []
        while place not in self._resource_at:
            passed.append(place)
            place = place.rpartition("/")[0]
        for inner in passed:
            self._resource_at[inner] = self._resource_at[place]
        return self._resource_at[place]

    def enter(self, place: str, scope: Scope) -> Scope:
        """The scope inside a place that is reached with `scope` from outside."""
        if not self._has_dynamic:
            return ()
        known = dict(scope)
        return tuple(sorted({**self.resource_of(place).dynamic, **known}.items()))

    def is_plain(self, ref: str) -> bool:
        """Whether a reference is the place of the schema that it points at: there is one resource, and no escapes."""
        if not ref.startswith("#/") or "%" in ref or len(self._resource_at) > 1:
            return False
        try:
            return isinstance(self.at(ref), (dict, bool))
        except KeyError:
            return False

    def resolve(self, ref: str, place: str) -> str:
        """The place that `$ref: ref` at `place` points at. Raises GrammarError for what was not given."""
        return self._resolve(ref, place)[0]

    def resolve_dynamic(self, ref: str, place: str, scope: Scope) -> str:
        """The place that `$dynamicRef: ref` means; scope: that inside `place`."""
        target, anchor = self._resolve(ref, place)
        if anchor is not None and self.resource_of(target).dynamic.get(anchor) == target:
            return dict(scope).get(anchor, target)
        return target

    def resolve_recursive(self, ref: str, place: str, scope: Scope) -> str:
        """The place that `$recursiveRef: ref` means; scope: that inside `place`."""
        target = self.resolve(ref, place)
        if _RECURSIVE in self.resource_of(target).dynamic:
            return dict(scope).get(_RECURSIVE, target)
        return target

    def _resolve(self, ref: str, place: str) -> tuple[str, str | None]:
        """The target, and its anchor where it is named by one."""
        if self.is_plain(ref):
            return ref, None
        base = self.resource_of(place).uri
        uri, fragment = urldefrag(base + ref if ref.startswith("#") else urljoin(base, ref))
        if uri not in self._resources and uri in metaschemas():
            self._roots[uri] = metaschemas()[uri]
            self._identify(uri)
        resource = self._resources.get(uri)
        if resource is None:
            reason = f"{ref!r} is outside this document, and nothing is fetched"
            raise GrammarError(place, "$ref", reason, "copy the schema it names into $defs, or give its document")
        fragment = unquote(fragment)
        root = self.at(resource.place)
        if fragment == "/" and isinstance(root, dict) and "" not in root:
            fragment = ""  # '#/', which many write for the whole document
        anchor = fragment if fragment and not fragment.startswith("/") else None
        target = resource.place + fragment if anchor is None else resource.anchors.get(anchor)
        try:
            if target is None or not isinstance(self.at(target), (dict, bool)):
                raise KeyError(ref)
        except KeyError:
            reason = f"{ref!r} points at no schema in this document"
            raise GrammarError(place, "$ref", reason, "point at an entry of $defs, as in '#/$defs/name'") from None
        return target, anchor

    # -- identifiers ------------------------------------------------------------------------------------------

    def _identify(self, uri: str) -> None:
        """Find every identifier in a place where a schema stands, and nowhere else."""
        root = f"{uri}#"
        schema = self.at(root)
        draft, unread = self.draft, frozenset[str]()
        if isinstance(schema, dict) and isinstance(schema.get("$schema"), str) and (uri or self.draft == "2020-12"):
            draft, unread = self._dialect_of(schema["$schema"], self.draft)
        self._resources[uri] = self._resource_at[root] = Resource(root, uri, draft, unread)
        todo = [(root, schema)]
        while todo:
            tick()
            place, schema = todo.pop()
            self._at[place] = schema
            if isinstance(schema, dict):
                if not _NAMING.isdisjoint(schema):
                    self._name(place, schema)
                if place != root or self._may_name_inside(uri, schema, draft):
                    todo += subschemas(place, schema)

    def _may_name_inside(self, uri: str, root: dict[str, Json], draft: Draft) -> bool:
        """Whether the text of a document has words that name schemas, but for those at its root."""
        text = self._texts.get(uri)
        if text is None or "\\u" in text:
            return True
        return any(text.count(f'"{word}"') > (word in root) for word in _NAMING if word != "id" or draft == "4")

    def _name(self, place: str, schema: dict[str, Json]) -> None:
        resource = self.resource_of(place)
        own = schema.get("$id", schema.get("id") if resource.draft == "4" else None)
        if isinstance(own, str) and not (stands_alone(resource.draft) and "$ref" in schema):
            uri, fragment = urldefrag(urljoin(resource.uri, own))
            if fragment and own.startswith("#"):
                resource.anchors[fragment] = place
            else:
                resource = self._new_resource(place, uri, schema, resource)
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(keyword), str):
                resource.anchors[schema[keyword]] = place
        if isinstance(schema.get("$dynamicAnchor"), str):
            resource.dynamic[schema["$dynamicAnchor"]] = place
            self._has_dynamic = True
        if schema.get("$recursiveAnchor") is True and place == resource.place:
            resource.dynamic[_RECURSIVE] = place
            self._has_dynamic = True

    def _new_resource(self, place: str, uri: str, schema: dict[str, Json], around: Resource) -> Resource:
        if place == around.place:  # the root of a document, which keeps the URI that it was given under
            around.uri = uri
            self._resources[uri] = around
            return around
        draft, unread = around.draft, around.unread
        if isinstance(schema.get("$schema"), str):
            draft, unread = self._dialect_of(schema["$schema"], around.draft)
        self._resources[uri] = self._resource_at[place] = Resource(place, uri, draft, unread)
        return self._resources[uri]

    def _dialect_of(self, dialect: str, otherwise: Draft) -> tuple[Draft, frozenset[str]]:
        """The draft that a `$schema` names, perhaps by way of a given metaschema; and keywords that this leaves out."""
        is_given = len(self._roots) > 1 or dialect.startswith("#")
        meta = self._roots.get(urldefrag(dialect)[0]) if dialect and is_given else None
        if not isinstance(meta, dict) or not isinstance(meta.get("$schema"), str):
            return draft_of(dialect) or otherwise, frozenset()
        spoken = meta.get("$vocabulary")
        known = {uri.rpartition("/")[2] for uri in spoken} if isinstance(spoken, dict) else set(VOCABULARY_OF.values())
        unread = frozenset(keyword for keyword, vocabulary in VOCABULARY_OF.items() if vocabulary not in known)
        return draft_of(meta["$schema"]) or otherwise, unread


@cache
def metaschemas() -> dict[str, Json]:
    """The schemas of JSON Schema itself, by their URIs."""
    return parse((Path(__file__).parent / "metaschemas.json").read_text("utf-8"))["documents"]


_NAMING = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})


def stands_alone(draft: Draft) -> bool:
    """Whether keywords beside `$ref` mean nothing in a draft."""
    return draft in ("openapi-3.0", "4", "6", "7")


def subschemas(place: str, schema: dict[str, Json]) -> list[tuple[str, Json]]:
    """The schemas directly inside a schema, each with its place."""
    found: list[tuple[str, Json]] = []
    for keyword, value in schema.items():
        if keyword in MAP_KEYWORDS and isinstance(value, dict):
            inside = f"{place}/{keyword}"
            found += [(child(inside, name), item) for name, item in value.items()]
        elif keyword in LIST_KEYWORDS and isinstance(value, list):
            found += [(f"{place}/{keyword}/{i}", item) for i, item in enumerate(value)]
        elif keyword in SCHEMA_KEYWORDS and isinstance(value, (dict, bool)):
            found.append((f"{place}/{keyword}", value))
    return found


def _member(parent: Json, step: str) -> Json:
    step = step.replace("~1", "/").replace("~0", "~")
    if isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        return parent[int(step)]
    if isinstance(parent, dict) and step in parent:
        return parent[step]
    raise KeyError(step)
