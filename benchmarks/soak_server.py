"""The soak's other process: an engine short of memory behind a server, calls from inside it, and a witness of both."""

from __future__ import annotations

import gc
import json
import random
import threading
import weakref
from concurrent.futures import CancelledError
from pathlib import Path
from typing import NamedTuple

import torch
import uvicorn

from rootform import Engine
from rootform.engine.job import Job
from rootform.engine.linears import PackedLinear, padded_count
from rootform.engine.resolve import resolve_model
from rootform.engine.types import Call, ModelInfo, RootformError, Sampling
from rootform.grammar.constraints import JsonSchema, Regex
from rootform.server.app import create_app
from rootform.server.serve import bind, url_of

_SCHEMA = '{"type":"object","properties":{"name":{"type":"string","maxLength":20},"n":{"type":"integer","maximum":999,"minimum":0}},"required":["name","n"],"additionalProperties":false}'  # noqa: E501

_LONG_TOKENS = 400
_FEW_PROMPTS = 60  # of callers, where outputs are compared: so few that each is asked for again and again
_PROMPT_TOKENS = 1024  # in one pass


class Setting(NamedTuple):
    """What to load, and what the callers ask of it.

    folder: for cached prefixes.  callers: threads that submit calls and cancel half of them.
    long_share: of the calls, how many outgrow the room they get at first.
    offline_share: of the calls.
    deterministic: the engine's; then the outputs of a prompt are compared, which agree whoever gave way meanwhile.
    """

    model: str
    folder: str
    kv_tokens: int
    batch: int
    seed: int
    callers: int
    long_share: float
    offline_share: float
    deterministic: bool


class Outputs:
    """What greedy calls of each prompt have written so far: of any two, one begins with the other."""

    def __init__(self) -> None:
        self.longest: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def fault(self, prompt: str, token_ids: tuple[int, ...]) -> str:
        """What is wrong with another output."""
        with self._lock:
            known = self.longest.get(prompt, ())
            n_same = min(len(known), len(token_ids))
            if known[:n_same] != token_ids[:n_same]:
                return f"the outputs of {prompt!r} differ: {known[:n_same]} and {token_ids[:n_same]}"
            self.longest[prompt] = max(known, token_ids, key=len)
            return ""


class Looks(NamedTuple):
    """The process at one moment. submitted, ended: calls; ended_twice: of those, with more than one final event.

    anon_mib: of rss_mib, memory that is no mapped file (files of cached prefixes are mapped while they are read).
    """

    rss_mib: float
    anon_mib: float
    submitted: int
    ended: int
    ended_twice: int
    finished: int
    cancelled: int
    failed: int
    running: int
    waiting: int
    pages_total: int
    pages_free: int
    pages_cached: int
    pages_locked: int
    output_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    put_back: int
    gave_way: int
    host_tier_tokens: int
    disk_tier_tokens: int
    grammar_mib: float


class Witness:
    """Counts the calls an engine takes, and their final events. The engine, for all that a server asks of it."""

    def __init__(self, engine: Engine) -> None:
        self.submitted = self.ended = self.ended_twice = 0
        self._engine = engine
        self._ended: weakref.WeakSet[Job] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._watch("finish")
        self._watch("fail")

    @property
    def info(self) -> ModelInfo:
        """The engine's."""
        return self._engine.info

    @property
    def trouble(self) -> str | None:
        """The engine's."""
        return self._engine.trouble

    def stats(self):
        """The engine's."""
        return self._engine.stats()

    def submit(self, call: Call) -> Job:
        """The engine's."""
        job = self._engine.submit(call)
        with self._lock:
            self.submitted += 1
        return job

    def _watch(self, name: str) -> None:
        end = getattr(Job, name)

        def counted(job: Job, outcome: object) -> None:
            with self._lock:
                self.ended_twice += job in self._ended
                self.ended += job not in self._ended
                self._ended.add(job)
            end(job, outcome)

        setattr(Job, name, counted)


class Served:
    """An engine with all tiers and little of everything, its server in a thread, and threads that call it directly."""

    def __init__(self, setting: Setting) -> None:
        self.engine = Engine(
            setting.model,
            threads=1,
            max_batch=setting.batch,
            prefill_tokens=_PROMPT_TOKENS,
            kv_bytes=setting.kv_tokens * _kv_bytes(resolve_model(setting.model)),
            grammar_bytes=32 << 20,
            cache_dir=setting.folder,
            disk_cache_bytes=64 << 20,
            host_cache_bytes=2 << 20,
            deterministic=setting.deterministic,
        )
        self._setting = setting
        self._outputs = Outputs()
        self.witness = Witness(self.engine)
        self._listener = bind("127.0.0.1", 0)
        self._server = uvicorn.Server(uvicorn.Config(create_app(self.witness), log_level="error", access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        self._stopping = threading.Event()
        self._faults: list[str] = []
        self._callers = [
            threading.Thread(target=self._call_on, args=(setting.seed + n,), daemon=True)
            for n in range(setting.callers)
        ]

    def url(self) -> str:
        """Where the server listens."""
        return url_of(self._listener)

    def chars_per_token(self, text: str) -> float:
        """Of a text like this."""
        return len(text) / self.witness.submit(Call(prompt=text, max_tokens=1)).result(60).usage.prompt_tokens

    def meet_numbers_of_rows(self) -> float:
        """Multiply by each kind of layer with each number of rows that passes may have; MiB that stay taken.

        oneDNN keeps machine code for each (`engine/linears.py`), and a load meets the last of them after hours only;
        what else grows is to be seen before.
        """
        before = _resident_mib("RssAnon")
        found = (each for each in gc.get_objects() if type(each) is PackedLinear)
        kinds = {(each.in_features, each.out_features, each.bias is None): each for each in found}
        most = _PROMPT_TOKENS + self._setting.batch
        with torch.inference_mode():
            for n_rows in sorted({padded_count(n) for n in range(1, most + 1)}):
                for layer in kinds.values():
                    layer(torch.zeros(n_rows, layer.in_features, dtype=torch.float32))
        return _resident_mib("RssAnon") - before

    def start_calling(self) -> None:
        """Let the callers begin."""
        for each in self._callers:
            each.start()

    def stop_calling(self) -> list[str]:
        """Let the callers end; what was wrong."""
        self._stopping.set()
        for each in self._callers:
            each.join(120)
        stuck = sum(each.is_alive() for each in self._callers)
        return [*self._faults, *(["a call from inside never ended"] * stuck)]

    def look(self) -> Looks:
        """Now."""
        stats, witness = self.engine.stats(), self.witness
        same = {name: getattr(stats, name) for name in Looks._fields if hasattr(stats, name)}
        return Looks(
            rss_mib=_resident_mib("VmRSS"),
            anon_mib=_resident_mib("RssAnon"),
            submitted=witness.submitted,
            ended=witness.ended,
            ended_twice=witness.ended_twice,
            finished=stats.requests_finished,
            cancelled=stats.requests_cancelled,
            failed=stats.requests_failed,
            grammar_mib=float(stats.grammar_bytes) / (1 << 20),
            **same,
        )

    def forget_prefixes(self) -> Looks:
        """Empty the tree and the tiers: every page must be free then."""
        self.engine.clear_cache()
        return self.look()

    def close(self) -> None:
        """Stop the server, close the engine."""
        self._server.should_exit = True
        self._thread.join(30)
        self.engine.close()

    def _call_on(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._stopping.is_set():
            try:
                if fault := self._call_once(rng):
                    self._faults.append(fault)
            except Exception as error:
                self._faults.append(f"a call from inside: {type(error).__name__}: {error}")

    def _call_once(self, rng: random.Random) -> str:
        """One call, read as it comes, cancelled half the time; what was wrong."""
        is_long = rng.random() < self._setting.long_share
        constraint = None if is_long else rng.choice([None, Regex("[a-z]{3,40}"), JsonSchema(_SCHEMA)])
        prompt = f"Number {rng.randrange(_FEW_PROMPTS if self._setting.deterministic else 500)} of a list: "
        call = Call(
            prompt=prompt,
            max_tokens=_LONG_TOKENS if is_long else rng.randrange(16, 120),
            ignore_eos=is_long,
            constraint=constraint,
            sampling=Sampling(temperature=rng.choice([0.0, 1.0]), seed=rng.randrange(1000)),
            priority="offline" if rng.random() < self._setting.offline_share else "online",
            top_logprobs=rng.choice([None, 2]),
        )
        cancel_after = rng.choice([None, 0, 1, 5])
        try:
            job = self.witness.submit(call)
            if cancel_after == 0:
                job.cancel()
            text = ""
            for n, delta in enumerate(job, 1):
                text += delta.text
                if n == cancel_after:
                    job.cancel()
            done = job.result(0)
            if text != done.text:
                return f"its deltas say {text!r}, its end {done.text!r}"
            if is_long and len(done.token_ids) != _LONG_TOKENS:
                return f"a call from inside asked for {_LONG_TOKENS} tokens and had {len(done.token_ids)}"
            if is_long and self._setting.deterministic and not call.sampling.temperature:
                return self._outputs.fault(prompt, done.token_ids)
            return ""
        except CancelledError:
            return "" if cancel_after is not None else "a call was cancelled that nobody cancelled"
        except RootformError as error:
            return f"a call from inside failed: {error}"


def _kv_bytes(folder: Path) -> int:
    """Of one token in float32."""
    config = json.loads((folder / "config.json").read_text())
    heads = config.get("num_key_value_heads", config["num_attention_heads"])
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return 4 * 2 * config["num_hidden_layers"] * heads * dim


def _resident_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status does not tell {field}")
