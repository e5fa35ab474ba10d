"""The engines that are compared, behind one interface. Each lives in a process of its own and uses one thread."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .grammar_inputs import Case, Tokens

PACKAGES = {
    "rootform": "rootform",
    "llguidance": "llguidance",
    "xgrammar": "xgrammar",
    "outlines-core": "outlines_core",
}
"""The engines by name, and the module each needs."""


class Options(NamedTuple):
    """How JSON is written, and what is measured.

    compact: no whitespace; else an engine's freest. any_order: members in any order. cpu_clock: processor time of the
    engine's process is measured, which a busy machine distorts less than the time on the wall.
    """

    compact: bool
    any_order: bool
    cache_bytes: int | None  # Rootform's bound on what it keeps
    cpu_clock: bool = False

    @property
    def clock(self) -> Callable[[], int]:
        """Nanoseconds."""
        return time.process_time_ns if self.cpu_clock else time.perf_counter_ns


class Refused(Exception):
    """The engine does not compile this schema."""


class Unsatisfiable(Exception):
    """The engine says that nothing satisfies this schema; it is right to reject all."""


class Engine(Protocol):
    """One engine with one vocabulary. A matcher is one sequence; what it is differs between engines."""

    def compile(self, case: Case) -> Any:
        """The grammar of a schema. Raises Refused or Unsatisfiable."""
        ...

    def start(self, grammar: Any) -> Any:
        """A matcher at the start of a grammar."""
        ...

    def mask(self, matcher: Any) -> None:
        """Find the mask of allowed tokens."""
        ...

    def take(self, matcher: Any, token: int) -> bool:
        """Go on by a token; whether it is allowed."""
        ...

    def accepting(self, matcher: Any) -> bool:
        """Whether the output may end here."""
        ...

    def stop(self, matcher: Any) -> None:
        """The matcher is not needed any more."""
        ...

    def tidy(self) -> None:
        """What a constraint leaves to do for when nobody waits for it."""
        ...

    def batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        """A function that goes on by one token in each matcher and finds all masks."""
        ...


def version(name: str) -> str | None:
    """The installed version of an engine, or None."""
    if importlib.util.find_spec(PACKAGES[name]) is None:
        return None
    return importlib.metadata.version(name)


def make(name: str, tokens: Tokens, options: Options) -> Engine:
    """An engine, ready and warm."""
    return {"rootform": Rootform, "llguidance": LLGuidance, "xgrammar": XGrammar, "outlines-core": OutlinesCore}[name](
        tokens, options
    )


class Rootform:
    """Masks are rows of a table; a mask is found when the row's id is. A single sequence is a cursor."""

    def __init__(self, tokens: Tokens, options: Options) -> None:
        from rootform.grammar.generations import Generations
        from rootform.grammar.vocab import Vocabulary

        from .cursor import Steps

        self._options = options
        vocabulary = Vocabulary(tokens.table, tokens.eos_ids, tokens.size)
        self._generations = Generations(vocabulary, max_bytes=options.cache_bytes or 512 << 20)
        first = self._generations.current
        first.automaton.warm()
        self._steps: dict[int, Any] = {first.serial: Steps(first.automaton)}

    def compile(self, case: Case) -> Any:
        from rootform.grammar.constraints import JsonSchema
        from rootform.grammar.errors import GrammarError

        constraint = JsonSchema(
            case.schema,
            spacing="compact" if self._options.compact else "flexible",
            property_order="any" if self._options.any_order else "schema",
            documents=tuple(case.documents.items()),
        )
        try:
            return self._generations.compile(constraint)
        except GrammarError as error:
            if "nothing satisfies" in error.reason or "nothing can satisfy" in error.reason:
                raise Unsatisfiable(str(error)) from error
            raise Refused(str(error)) from error

    def start(self, grammar: Any) -> Any:
        from .cursor import Steps

        serial = grammar.generation.serial
        steps = self._steps.get(serial)
        if steps is None:
            self._steps = {serial: Steps(grammar.generation.automaton)}
            steps = self._steps[serial]
        return steps.open(grammar.start)

    def mask(self, matcher: Any) -> None:
        matcher.row()

    def take(self, matcher: Any, token: int) -> bool:
        return matcher.take(token)

    def accepting(self, matcher: Any) -> bool:
        return matcher.accepting()

    def stop(self, matcher: Any) -> None: ...

    def tidy(self) -> None:
        self._generations.tidy()

    def batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        states, slots = self._slots(matchers)

        def step(tokens: Sequence[int]) -> None:
            states.advance(slots, np.asarray(tokens, np.int32))
            states.row_ids(slots)

        return step

    def gathered_batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        """The same, with the rows copied into one array, as an engine without a table on its device needs it."""
        states, slots = self._slots(matchers)
        automaton = matchers[0].automaton
        rows = np.empty((len(slots), automaton.vocabulary.words), np.int32)

        def step(tokens: Sequence[int]) -> None:
            states.advance(slots, np.asarray(tokens, np.int32))
            np.take(automaton.rows, states.row_ids(slots), axis=0, out=rows)

        return step

    @staticmethod
    def _slots(matchers: list[Any]) -> tuple[Any, np.ndarray]:
        """The sequences as slots of one batch."""
        from rootform.grammar.batch import StateBatch

        states = StateBatch(matchers[0].automaton)
        slots = [states.open(matcher.root) for matcher in matchers]
        for slot, matcher in zip(slots, matchers, strict=True):
            states.restore(slot, matcher.save())
        return states, np.array(slots, np.int32)


class LLGuidance:
    """Masks go into a numpy array, as its own documentation does it."""

    def __init__(self, tokens: Tokens, options: Options) -> None:
        from llguidance import LLExecutor, LLTokenizer

        slices = LLTokenizer.json_slices()
        if tokens.pattern:
            self._tokenizer: Any = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]
                encoder={data: rank for rank, data in enumerate(tokens.table)},
                special_tokens={f"<|{i}|>": i for i in range(len(tokens.table), tokens.size)},
                pattern=tokens.pattern,
                eos_token=tokens.eos_ids[0],
                n_vocab=tokens.size,
                slices=slices,
            )
        else:
            self._tokenizer = LLTokenizer(tokens.definition, tokens.size, tokens.eos_ids, slices)
        self._executor = LLExecutor(1)
        self._row = np.zeros((1, (tokens.size + 31) // 32), np.int32)
        self._options = options

    def compile(self, case: Case) -> str:
        from llguidance import LLMatcher

        spacing = {"whitespace_flexible": False} if self._options.compact else {"whitespace_flexible": True}
        try:
            return LLMatcher.grammar_from_json_schema(case.schema, defaults=spacing)  # type: ignore[arg-type]
        except ValueError as error:
            raise Refused(str(error)) from error

    def start(self, grammar: str) -> Any:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            reason = matcher.get_error()
            raise (Unsatisfiable if "nsatisfiable" in reason else Refused)(reason)
        return matcher

    def mask(self, matcher: Any) -> None:
        matcher.unsafe_compute_mask_ptr(self._row.ctypes.data, self._row.nbytes)

    def take(self, matcher: Any, token: int) -> bool:
        return matcher.consume_token(token)

    def accepting(self, matcher: Any) -> bool:
        return matcher.is_accepting()

    def stop(self, matcher: Any) -> None: ...

    def tidy(self) -> None: ...

    def batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        from llguidance.numpy import consume_token_par, fill_next_token_bitmask_par

        rows = np.zeros((len(matchers), self._row.shape[1]), np.int32)
        numbered = [(matcher, i) for i, matcher in enumerate(matchers)]

        def step(tokens: Sequence[int]) -> None:
            consume_token_par(self._executor, list(zip(matchers, tokens, strict=True)))
            fill_next_token_bitmask_par(self._executor, numbered, rows)

        return step


class XGrammar:
    """Masks go into a torch tensor, as its own documentation does it."""

    def __init__(self, tokens: Tokens, options: Options) -> None:
        import xgrammar

        self._xgrammar = xgrammar
        table = [*tokens.table, *[b""] * (tokens.size - len(tokens.table))]
        info = xgrammar.TokenizerInfo(
            table, xgrammar.VocabType.RAW, vocab_size=tokens.size, stop_token_ids=list(tokens.eos_ids)
        )
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._row = xgrammar.allocate_token_bitmask(1, tokens.size)
        self._size = tokens.size
        self._options = options

    def compile(self, case: Case) -> Any:
        try:
            return self._compiler.compile_json_schema(
                case.schema,
                any_whitespace=not self._options.compact,
                separators=(",", ":") if self._options.compact else None,
                strict_mode=False,
                any_order=self._options.any_order,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise (Unsatisfiable if "nsatisfiable" in reason else Refused)(reason) from error

    def start(self, grammar: Any) -> Any:
        return self._xgrammar.GrammarMatcher(grammar, terminate_without_stop_token=False)

    def mask(self, matcher: Any) -> None:
        matcher.fill_next_token_bitmask(self._row)

    def take(self, matcher: Any, token: int) -> bool:
        return matcher.accept_token(token)

    def accepting(self, matcher: Any) -> bool:
        return matcher.is_completed()

    def stop(self, matcher: Any) -> None: ...

    def tidy(self) -> None: ...

    def batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        rows = self._xgrammar.allocate_token_bitmask(len(matchers), self._size)
        together = self._xgrammar.BatchGrammarMatcher(max_threads=1)

        def step(tokens: Sequence[int]) -> None:
            together.batch_accept_token(matchers, list(tokens))
            together.batch_fill_next_token_bitmask(matchers, rows)

        return step


class OutlinesCore:
    """An index of the regex that it makes of the schema."""

    def __init__(self, tokens: Tokens, options: Options) -> None:
        import outlines_core

        ids: dict[bytes, list[int]] = {}
        for token, data in enumerate(tokens.table):
            if data and token not in tokens.eos_ids:
                ids.setdefault(data, []).append(token)
        self._outlines = outlines_core
        self._vocabulary = outlines_core.Vocabulary(tokens.eos_ids[0], ids)
        self._row = np.zeros((tokens.size + 31) // 32, np.int32)
        self._spaces = "" if options.compact else r"[ \n\t]*"

    def compile(self, case: Case) -> Any:
        from outlines_core.json_schema import build_regex_from_schema

        try:
            return self._outlines.Index(build_regex_from_schema(case.schema, self._spaces), self._vocabulary)
        except Exception as error:  # it raises many types, and panics as BaseException is left alone
            raise Refused(str(error)) from error

    def start(self, grammar: Any) -> Any:
        return self._outlines.Guide(grammar)

    def mask(self, matcher: Any) -> None:
        matcher.write_mask_into(self._row.ctypes.data, self._row.size, 4)

    def take(self, matcher: Any, token: int) -> bool:
        if not matcher.accepts_tokens([token]):
            return False
        matcher.advance(token, False)
        return True

    def accepting(self, matcher: Any) -> bool:
        return matcher.is_finished() or bool(self._may_end(matcher))

    def stop(self, matcher: Any) -> None: ...

    def tidy(self) -> None: ...

    def batch(self, matchers: list[Any]) -> Callable[[Sequence[int]], None]:
        rows = np.zeros((len(matchers), self._row.size), np.int32)

        def step(tokens: Sequence[int]) -> None:
            for matcher, token, row in zip(matchers, tokens, rows, strict=True):
                matcher.advance(token, False)
                matcher.write_mask_into(row.ctypes.data, row.size, 4)

        return step

    def _may_end(self, matcher: Any) -> bool:
        return self._vocabulary.get_eos_token_id() in matcher.get_tokens()


def reason_of(error: Exception) -> str:
    """One line that says why a schema was not compiled."""
    return json.dumps(str(error))[1:300]
