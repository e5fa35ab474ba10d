"""Counting: what this run spent, and what the whole job came to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .outcome import Answer, Failure, Outcome


@dataclass
class Spent:
    """What this run did, rows from an earlier run's journal left out. seconds: from its making to `stop`."""

    documents: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def stop(self) -> None:
        """The measured time ends now."""
        self.seconds = time.perf_counter() - self._started

    def count(self, outcome: Outcome) -> None:
        """Add one finished row."""
        self.documents += 1
        if isinstance(outcome, Answer):
            self.prompt_tokens += outcome.usage.prompt_tokens
            self.cached_tokens += outcome.usage.cached_tokens
            self.completion_tokens += outcome.usage.completion_tokens
            self.forward_passes += outcome.usage.forward_passes

    def tokens(self) -> str:
        """What it cost, on one line."""
        cached = f", {self.cached_tokens:,} of them cached" if self.cached_tokens else ""
        return f"{self.prompt_tokens:,} prompt tokens{cached}; {self.completion_tokens:,} output tokens"

    def describe(self) -> str:
        """Rates, on one line."""
        seconds, tokens = max(self.seconds, 1e-9), self.completion_tokens
        parts = [f"{self.documents / seconds:,.1f} documents/s", f"{tokens / seconds:,.0f} output tokens/s"]
        if tokens:
            parts.append(f"{self.forward_passes / tokens:.2f} forward passes per output token")
        if self.prompt_tokens:
            parts.append(f"{self.cached_tokens / self.prompt_tokens:.0%} of prompt tokens from the prefix cache")
        return ", ".join(parts)


@dataclass
class Total:
    """What a whole job came to. reasons: kind of failure -> how many, and the first one in full."""

    extracted: int = 0
    failed: int = 0
    closed_early: int = 0
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> None:
        """Add one row."""
        if isinstance(outcome, Failure):
            self.failed += 1
            number, first = self.reasons.get(outcome.kind, (0, outcome.reason))
            self.reasons[outcome.kind] = number + 1, first
        else:
            self.extracted += 1
            self.closed_early += outcome.closed_early

    def describe(self) -> str:
        """How many of each, and why rows failed, commonest reason first."""
        lines = [f"{self.extracted + self.failed:,} rows: {self.extracted:,} extracted, {self.failed:,} failed"]
        if self.closed_early:
            lines[0] += f"; {self.closed_early:,} closed early at the token limit"
        for kind, (number, first) in sorted(self.reasons.items(), key=lambda item: -item[1][0]):
            lines.append(f"  {number:,} x {kind}; the first: {first}")
        return "\n".join(lines)
