"""From a document to the Call that extracts it: all that the rows of one job share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ..engine.types import Call, JsonSchema, Message, ModelInfo, Priority, RootformError, Sampling
from ..grammar.constraints import Draft, Escapes, PropertyOrder, Spacing
from .prompt import Template, compact_json, default_template

_MOST_TOKENS = 1024


@dataclass(frozen=True)
class Options:
    """How answers are generated. max_tokens None: 1,024, or what the model's context leaves when that is less.

    seed: row number n is sampled with seed + n, so a resumed job gives what an uninterrupted one gives.
    priority: of each row, among other calls of the same engine or server.  The others are those of JsonSchema.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0
    spacing: Spacing = "compact"
    property_order: PropertyOrder = "schema"
    draft: Draft | None = None
    documents: tuple[tuple[str, str], ...] = ()
    lenient: bool = False
    escapes: Escapes = "any"
    priority: Priority = "offline"

    def constraint(self, schema: str, document: str | None = None) -> JsonSchema:
        """The constraint of a schema's text. document: what verbatim values stand in."""
        found = JsonSchema(
            schema,
            self.spacing,
            property_order=self.property_order,
            draft=self.draft,
            documents=self.documents,
            lenient=self.lenient,
            escapes=self.escapes,
        )
        return msgspec.structs.replace(found, document=document) if found.may_be_verbatim else found


@dataclass(frozen=True)
class Asker:
    """One schema put to one model. template None in `make`: the model's own way of asking."""

    info: ModelInfo
    schema: str
    template: Template
    options: Options
    schema_in_prompt: str

    @classmethod
    def make(cls, info: ModelInfo, schema: str, options: Options, template: Template | None = None) -> Asker:
        """Raises RootformError when max_tokens cannot be had from this model."""
        if options.max_tokens is not None and not 0 < options.max_tokens < info.context_tokens:
            raise RootformError(
                f"--max-tokens {options.max_tokens}: model {info.name} has a context of {info.context_tokens} tokens "
                "for prompt and answer together; ask for 1 or more, and fewer than that"
            )
        return cls(info, schema, template or default_template(info), options, compact_json(schema))

    def prompt(self, document: str, fields: Mapping[str, str] = {}) -> str:
        """The text put to the model."""
        return self.template.render(document, self.schema_in_prompt, fields)

    def call(self, prompt: str, number: int = 0, document: str | None = None) -> Call:
        """The call for a rendered prompt. number: the row's, for its seed. document: what verbatim values stand in."""
        options = self.options
        sampled = options.temperature > 0
        return Call(
            messages=(Message("user", prompt),) if self.info.has_chat_template else None,
            prompt=None if self.info.has_chat_template else prompt,
            max_tokens=options.max_tokens or min(_MOST_TOKENS, max(1, self.info.context_tokens // 2)),
            sampling=Sampling(temperature=options.temperature, seed=options.seed + number if sampled else None),
            constraint=options.constraint(self.schema, document),
            priority=options.priority,
        )

    def again(self, call: Call, error: RootformError, times: int = 1) -> Call | None:
        """An `Again`: the same with the room that the prompt leaves, when nobody asked for a certain number."""
        if self.options.max_tokens is None and call.max_tokens is not None and error.param == "max_tokens":
            return msgspec.structs.replace(call, max_tokens=None)
        return None
