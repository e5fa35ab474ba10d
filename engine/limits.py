"""The numbers a running engine keeps to, derived once from the model and its memory, and printed at start."""

from __future__ import annotations

import msgspec

from .types import RootformError

_DEFAULT_BATCH = 64
_DEFAULT_PREFILL_TOKENS = 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the step loop may do. Derived by derive_limits; nothing changes it afterwards.

    batch_rows: sequences in one forward pass.
    prefill_tokens: prompt tokens in one forward pass, over all sequences; decoding tokens come on top.
    itl_s: seconds between the tokens of online sequences, which prompts and offline sequences in the same pass are
    not to exceed; None: a multiple of what the online sequences take alone (plan.AUTO_TARGET).
    context_tokens: prompt and output of one sequence together.
    growth_tokens: room for output a sequence gets at first, and again each time it runs out.
    worth_waiting_tokens: a request waits for a prefix another one is computing when at least so many tokens are won.
    overtaken: a request that so many later ones were served before comes before all who do not wait as long.
    overtaken_offline: an offline one is treated as online when so many online ones were served since it came.
    look_ahead: how many waiting requests of each priority are looked at in one step.
    """

    batch_rows: int
    prefill_tokens: int
    itl_s: float | None
    context_tokens: int
    page_tokens: int
    total_pages: int
    growth_tokens: int
    worth_waiting_tokens: int
    overtaken: int
    overtaken_offline: int
    look_ahead: int

    @property
    def memory_tokens(self) -> int:
        """The tokens whose KV fits in memory."""
        return self.page_tokens * self.total_pages

    @property
    def sequence_tokens(self) -> int:
        """Prompt and output of one sequence together, as far as both the model and memory reach."""
        return min(self.context_tokens, self.memory_tokens)

    def describe(self) -> str:
        """One line per limit, for people."""
        return "\n".join(
            (
                f"batch: up to {self.batch_rows} sequences and {self.prefill_tokens} prompt tokens in one pass",
                f"time between tokens of online calls: {self._target()}",
                f"context: {self.context_tokens} tokens for prompt and output together",
                f"KV memory: {self.memory_tokens} tokens in {self.total_pages} pages of {self.page_tokens}",
            )
        )

    def _target(self) -> str:
        if self.itl_s is None:
            return "prompts may double it"
        return f"prompts are computed in pieces, to keep it below {1e3 * self.itl_s:g} ms"


def derive_limits(
    *,
    context_tokens: int,
    page_tokens: int,
    total_pages: int,
    max_batch: int | None = None,
    prefill_tokens: int | None = None,
    max_context: int | None = None,
    itl_ms: float | None = None,
) -> Limits:
    """The limits for a model with this context and a memory of total_pages pages.

    max_batch, prefill_tokens, max_context, itl_ms: what the user asked for; None: derived. Raises RootformError for
    what cannot be had.
    """
    for name, value in (("max_batch", max_batch), ("prefill_tokens", prefill_tokens), ("max_context", max_context)):
        if value is not None and value < 1:
            raise RootformError(f"{name} is {value}; it must be 1 or more", param=name)
    if itl_ms is not None and not 0 < itl_ms < float("inf"):
        raise RootformError(f"itl_ms is {itl_ms:g}; it is milliseconds, above 0", param="itl_ms")
    if max_context is not None and max_context > context_tokens:
        raise RootformError(
            f"max_context is {max_context} tokens, but the model was made for {context_tokens}; ask for that or less",
            param="max_context",
        )
    if total_pages * page_tokens < 2:
        raise RootformError("there is no KV memory for even one token of output; give kv_bytes a larger value")
    return Limits(
        batch_rows=max_batch or _DEFAULT_BATCH,
        prefill_tokens=prefill_tokens or _DEFAULT_PREFILL_TOKENS,
        itl_s=None if itl_ms is None else itl_ms / 1e3,
        context_tokens=max_context or context_tokens,
        page_tokens=page_tokens,
        total_pages=total_pages,
        growth_tokens=256,
        # Recomputing a few tokens inside a pass that runs anyway costs less than sitting that pass out.
        worth_waiting_tokens=max(16, page_tokens),
        overtaken=64,
        overtaken_offline=1024,
        look_ahead=256,
    )
