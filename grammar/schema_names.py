"""Names of members that are not listed, kind by kind: by the patterns that they match and the schemas they satisfy."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from .chars import Encoding
from .expr import POOL
from .json_values import ANY_TEXT, PLAIN_TEXT, besides
from .known_values import all_values
from .schema_rules import StringRule
from .schema_strings import inside_quotes, search, spelled

Body = Callable[[StringRule, Encoding, bool], int]
"""What a rule allows between quotes, spelled so; and whether formats are to be in any spelling, and wider."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """What the keywords of an object say about a name: patterns or rules one of which it may match, or follow.

    is_wide: it matters for names alone that do not follow them, so all that might are taken together.
    """

    patterns: tuple[str, ...] = ()
    rules: tuple[StringRule, ...] = ()
    is_wide: bool = False

    def texts(self, spelling: Encoding, body: Body) -> int:
        """Those between quotes of which it is true."""
        found = [search(pattern, spelling) for pattern in self.patterns]
        for rule in self.rules:
            if rule.values is not None:
                found += [spelled(value.json, spelling) for value in rule.values]
            else:
                found.append(body(rule, spelling, self.is_wide))
        return POOL.alt(*found)

    def is_true(self, text: bytes, body: Body) -> bool:
        """Whether it is true of a name, given as it stands between quotes in its plain spelling."""
        return POOL.fullmatch(self.texts("plain", body), text)


class Names(msgspec.Struct, frozen=True, gc=False):
    """Any name of which some sayings are true and others are not, but none of `listed`.

    shortest: one of the shortest, as it stands between quotes in its plain spelling.
    """

    true: tuple[Said, ...] = ()
    untrue: tuple[Said, ...] = ()
    listed: tuple[str, ...] = ()
    shortest: bytes = b""

    def texts(self, body: Body) -> int:
        """Between quotes, in any spelling."""
        return self._found("json", body, self.untrue, self.listed)

    def where(self, said: Said, body: Body, *, true: bool) -> Names | None:
        """Those of them of which one thing more is true, or is not; None: there are none."""
        more = {"true": (*self.true, said)} if true else {"untrue": (*self.untrue, said)}
        found = replace(self, **more)
        return found if said.is_true(self.shortest, body) == true else found._searched(body)

    def besides(self, listed: tuple[str, ...], body: Body) -> Names | None:
        """Those of them that are not listed; None: all are."""
        found = replace(self, listed=listed)
        return found._searched(body) if self.shortest in map(inside_quotes, listed) else found

    def few(self, most: int, body: Body) -> tuple[str, ...]:
        """All of them, if they are not more than `most`; else none."""
        if not self.true and not self.untrue:
            return ()
        quote = POOL.literal(b'"')
        found = all_values(POOL.concat(quote, self._found("plain", body, self.untrue, self.listed), quote), most)
        names = tuple(json.loads(value.text) for value in found or ())
        return names if replace(self, listed=(*self.listed, *names))._searched(body) is None else ()

    def _searched(self, body: Body) -> Names | None:
        """With a shortest one; None: there are none."""
        found = POOL.shortest(self._found("plain", body, (), ()))
        if found is None:
            return None
        found = inside_quotes(json.loads(b'"%b"' % found))  # which may be one of several spellings
        if any(said.is_true(found, body) for said in self.untrue) or found in map(inside_quotes, self.listed):
            found = POOL.shortest(self._found("plain", body, self.untrue, self.listed))
        return None if found is None else replace(self, shortest=found)

    def _found(self, spelling: Encoding, body: Body, untrue: tuple[Said, ...], listed: tuple[str, ...]) -> int:
        """Those of which `untrue` alone are not true, but none of `listed`."""
        parts = [said.texts(spelling, body) for said in self.true]
        if not parts or (spelling == "plain" and (untrue or listed)):  # of which no other spellings are known then
            parts.append(ANY_TEXT if spelling == "json" else PLAIN_TEXT)
        parts += [POOL.not_(said.texts(spelling, body)) for said in untrue]
        found = besides(POOL.and_(*parts), listed, spelling)
        if spelling == "json" and not POOL.plain(found):
            POOL.know_shortest(found, self.shortest)
        return found
