"""Structural tags to expressions: free text that switches into tags, and what tags are made of.

Free text stops where a trigger, an excluded text or the end of the tag around it first occurs, wherever that may be:
also where it would begin in the free text and end in what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from . import chars
from . import structural_types as types
from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL

Parts = tuple[Callable[[str], int], Callable[[str], int], Callable[[str], int]]
"""From a JSON Schema, a pattern and a grammar, each as text, to what it accepts."""


def compile_structural_tag(text: str, parts: Parts) -> int:
    """The texts of a structural tag given as JSON. Raises GrammarError with a JSON pointer."""
    asked = types.read_structural_tag(text)
    return _Compiler(*parts).of(asked, "#/format", ())


def free_text(without: Iterable[str], before: Sequence[str] = (), at: str = "#") -> int:
    """Texts in which none of `without` occurs.

    before: what comes next is one of these; then none of `without` may end inside it either, before it is over. Raises
    GrammarError, naming `at`, when one of `without` stands inside one of `before`, for then that can never come.
    """
    stops = [stop.encode() for stop in without]
    following = [text.encode() for text in before]
    for text, stop in ((text, stop) for text in following for stop in stops):
        if stop in text[:-1]:
            reason = f"free text never comes to it, since {stop.decode()!r} is there before"
            raise GrammarError(at, text.decode(), reason, "remove one of them")
    every = POOL.everything
    tails = {stop[:k] for stop in stops for k in range(1, len(stop)) if _ends_inside(stop[k:], following)}
    ends = POOL.concat(every, POOL.alt(*map(POOL.literal, tails)))
    found = POOL.concat(every, POOL.alt(*map(POOL.literal, stops)), every)
    text = POOL.repeat(chars.utf8(chars.ANY_CHARACTER), 0, None)
    return POOL.and_(text, POOL.not_(POOL.alt(found, ends)))


def _ends_inside(rest: bytes, texts: Sequence[bytes]) -> bool:
    return any(len(rest) < len(text) and text.startswith(rest) for text in texts)


class _Compiler:
    def __init__(
        self, schema: Callable[[str], int], pattern: Callable[[str], int], grammar: Callable[[str], int]
    ) -> None:
        self._schema = schema
        self._pattern = pattern
        self._grammar = grammar

    def of(self, asked: types.Format, at: str, ends: Sequence[str]) -> int:
        """Texts of a format. at: its JSON pointer. ends: those of the tag that it is last in."""
        made = self._of(asked, at, ends)
        if POOL.is_empty(made):
            raise GrammarError(at, "", "nothing can satisfy this")
        return made

    def _of(self, asked: types.Format, at: str, ends: Sequence[str]) -> int:
        match asked:
            case types.ConstString():
                return POOL.literal(asked.value.encode())
            case types.JsonSchemaFormat():
                return self._within(f"{at}/json_schema", self._schema, bytes(asked.json_schema).decode())
            case types.RegexFormat():
                return self._within(f"{at}/pattern", self._pattern, asked.pattern)
            case types.GrammarFormat():
                return self._within(f"{at}/grammar", self._grammar, asked.grammar)
            case types.AnyText():
                return free_text([*_filled(asked.excludes, f"{at}/excludes"), *ends], ends, at)
            case types.Tag():
                return POOL.concat(POOL.literal(asked.begin.encode()), self._rest_of_tag(asked, at))
            case types.TriggeredTags():
                return self._triggered(asked, at, ends)
            case types.TagsWithSeparator():
                return self._separated(asked, at)
            case types.Dispatch():
                return self._dispatch(asked, at, ends)
            case _:
                return self._composed(asked, at, ends)

    def _composed(
        self,
        asked: types.SequenceFormat | types.OrFormat | types.Optional | types.Plus | types.Star | types.RepeatFormat,
        at: str,
        ends: Sequence[str],
    ) -> int:
        if isinstance(asked, types.SequenceFormat):
            last = len(asked.elements) - 1
            items = [self.of(e, f"{at}/elements/{i}", ends if i == last else ()) for i, e in enumerate(asked.elements)]
            return POOL.concat(*items)
        if isinstance(asked, types.OrFormat):
            return POOL.alt(*[self.of(e, f"{at}/elements/{i}", ends) for i, e in enumerate(asked.elements)])
        content = self.of(asked.content, f"{at}/content", ends)
        if isinstance(asked, types.RepeatFormat):
            if -1 < asked.max < asked.min:
                raise GrammarError(at, "max", "it is less than min")
            return POOL.repeat(content, asked.min, None if asked.max < 0 else asked.max)
        lo, hi = (0, 1) if isinstance(asked, types.Optional) else (int(isinstance(asked, types.Plus)), None)
        return POOL.repeat(content, lo, hi)

    def _within(self, at: str, compile_part: Callable[[str], int], text: str) -> int:
        try:
            return POOL.frame(compile_part(text))
        except GrammarError as error:
            where = at if error.where == "#" else f"{at}: {error.where}"
            raise GrammarError(where, error.keyword, error.reason, error.rewrite) from error

    def _rest_of_tag(self, tag: types.Tag, at: str) -> int:
        """What follows the begin of a tag."""
        if not tag.ends:
            raise GrammarError(at, "end", "there is none", "write a string, or a list of one or more")
        content = self.of(tag.content, f"{at}/content", [end for end in tag.ends if end])
        return POOL.concat(content, POOL.alt(*[POOL.literal(end.encode()) for end in tag.ends]))

    def _triggered(self, asked: types.TriggeredTags, at: str, ends: Sequence[str]) -> int:
        triggers = _filled(asked.triggers, f"{at}/triggers")
        begun: dict[str, int] = dict.fromkeys(triggers, EMPTY)
        tags = EMPTY
        for i, tag in enumerate(asked.tags):
            fitting = [trigger for trigger in begun if tag.begin.startswith(trigger)]
            if len(fitting) != 1:
                reason = f"it begins with {len(fitting)} of the triggers"
                raise GrammarError(f"{at}/tags/{i}", "begin", reason, "let each tag begin with exactly one")
            (trigger,) = fitting
            rest = self._rest_of_tag(tag, f"{at}/tags/{i}")
            begun[trigger] = POOL.alt(
                begun[trigger], POOL.concat(POOL.literal(tag.begin[len(trigger) :].encode()), rest)
            )
            tags = POOL.alt(tags, POOL.concat(POOL.literal(tag.begin.encode()), rest))
        for i, trigger in enumerate(triggers):
            if begun[trigger] == EMPTY:
                raise GrammarError(f"{at}/triggers/{i}", trigger, "no tag begins with it", "remove it, or add the tag")
        excluded = [*_filled(asked.excludes, f"{at}/excludes"), *ends]
        loop = self._switching(begun, excluded, ends, at, once=asked.stop_after_first and not asked.at_least_one)
        if asked.at_least_one:
            return tags if asked.stop_after_first else POOL.concat(tags, loop)
        return loop

    def _dispatch(self, asked: types.Dispatch, at: str, ends: Sequence[str]) -> int:
        patterns = _filled([pattern for pattern, _ in asked.rules], f"{at}/rules")
        if len(set(patterns)) < len(patterns):
            raise GrammarError(f"{at}/rules", "", "a pattern stands there twice", "join their formats by an or")
        begun = {p: self.of(f, f"{at}/rules/{i}/1", ends) for i, (p, f) in enumerate(asked.rules)}
        excluded = [*_filled(asked.excludes, f"{at}/excludes"), *ends]
        return self._switching(begun, excluded, ends, at, once=not asked.loop)

    def _switching(
        self, begun: dict[str, int], excluded: Sequence[str], ends: Sequence[str], at: str, *, once: bool
    ) -> int:
        """Free text in which each key of `begun` is followed by its value."""
        stops = [*begun, *excluded]
        switches = [
            POOL.concat(free_text(stops, [trigger], at), POOL.literal(trigger.encode()), rest)
            for trigger, rest in begun.items()
        ]
        free = free_text(stops, ends, at)
        if once:
            return POOL.alt(*switches, free)
        return POOL.concat(POOL.repeat(POOL.alt(*switches), 0, None), free)

    def _separated(self, asked: types.TagsWithSeparator, at: str) -> int:
        tags = [self.of(tag, f"{at}/tags/{i}", ()) for i, tag in enumerate(asked.tags)]
        one = POOL.alt(*tags)
        more = EPSILON
        if not asked.stop_after_first:
            more = POOL.repeat(POOL.concat(POOL.literal(asked.separator.encode()), one), 0, None)
        return POOL.repeat(POOL.concat(one, more), int(asked.at_least_one), 1)


def _filled(texts: Sequence[str], at: str) -> list[str]:
    """The texts, none of which may be empty: the empty text occurs everywhere."""
    if "" in texts:
        raise GrammarError(f"{at}/{list(texts).index('')}", "", "it must not be empty", "remove it")
    return list(texts)
