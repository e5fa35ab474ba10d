"""The engines of the serving benchmark: ours and its peers, each a class that answers a list of prompts.

They are made inside a process of their own (`serving_worker.py`). All are greedy, and all are held to the same
language: JSON without spaces, members in the schema's order.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .serving_llamacpp import LlamaServer, find_server
from .serving_workload import EOS_ID, GRAMMAR, MAX_OUTPUT_TOKENS, SCHEMA


class Answers(NamedTuple):
    """What an engine made of a list of prompts.

    passes: forward passes, counted once for each request in them; cached: prompt tokens that were found computed;
    drafted, accepted: tokens guessed ahead, and those that stayed. None: the engine does not tell.
    """

    texts: list[str]
    output_tokens: int
    cpu_s: float
    wall_s: float
    passes: int | None = None
    cached: int | None = None
    drafted: int | None = None
    accepted: int | None = None


class Engine(Protocol):
    """One model, loaded."""

    def answer(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """All prompts together."""
        ...


class Setting(NamedTuple):
    """One row of the table. engine: a key of `PACKAGES`; dtype: of its weights and products."""

    engine: str
    dtype: str
    drafts: bool = False

    @property
    def name(self) -> str:
        return f"{self.engine} {self.dtype}" + (" drafts" if self.drafts else "")


PACKAGES = {
    "rootform": (),
    "transformers": ("xgrammar",),
    "openvino": ("openvino_genai", "gguf"),
    "llamacpp": ("gguf",),
}
"""The packages each engine needs beyond our own."""

SETTINGS = [
    Setting("rootform", "fp32", drafts=True),
    Setting("rootform", "fp32"),
    Setting("rootform", "bf16", drafts=True),
    Setting("rootform", "bf16"),
    Setting("rootform", "int8", drafts=True),
    Setting("rootform", "int8"),
    Setting("openvino", "fp32"),
    Setting("openvino", "bf16"),
    Setting("openvino", "int8"),
    Setting("llamacpp", "fp32"),
    Setting("llamacpp", "bf16"),
    Setting("llamacpp", "int8"),
    Setting("transformers", "fp32"),
    Setting("transformers", "bf16"),
]


_LLAMA_SLOTS = 8
"""Of llama.cpp's server. More share each pass, but each computes the shared prompt for itself: of 4, 8, 16 and 32 the
cheapest at tiny, with 32 requests."""


def lacking(engine: str) -> list[str]:
    """What it needs that is not installed."""
    missing = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
    if engine == "llamacpp" and find_server() is None:
        missing.append("llama-server: serving_llamacpp.py says how to build it; --llama-server PATH")
    return missing


def make(setting: Setting, folder: Path, threads: int, batch: int) -> Engine:
    """Load the model in `folder`."""
    kinds = {"rootform": Rootform, "transformers": Transformers, "openvino": OpenVino, "llamacpp": LlamaCpp}
    return kinds[setting.engine](setting, folder, threads, batch)


def _decoder(folder: Path) -> Any:
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


class Rootform:
    """This engine."""

    def __init__(self, setting: Setting, folder: Path, threads: int, batch: int) -> None:
        from rootform import Engine

        dtype = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}[setting.dtype]
        self.engine = Engine(folder, dtype=dtype, threads=threads, max_batch=batch, drafts=setting.drafts)
        self._schema = json.dumps(SCHEMA)

    def close(self) -> None:
        """End it."""
        self.engine.close()

    def answer(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """See Engine."""
        before, cpu, wall = self.engine.stats(), time.process_time(), time.perf_counter()
        done = self.engine.generate(
            [tuple(ids) for ids in prompts], schema=self._schema, escapes="minimal", max_tokens=MAX_OUTPUT_TOKENS
        )
        cpu, wall, after = time.process_time() - cpu, time.perf_counter() - wall, self.engine.stats()
        assert isinstance(done, list)
        return Answers(
            texts=[each.text for each in done],
            output_tokens=sum(each.usage.completion_tokens for each in done),
            cpu_s=cpu,
            wall_s=wall,
            passes=sum(each.usage.forward_passes for each in done),
            cached=sum(each.usage.cached_tokens for each in done),
            drafted=after.drafted_tokens - before.drafted_tokens,
            accepted=after.accepted_tokens - before.accepted_tokens,
        )


class Transformers:
    """`generate` on static batches, with XGrammar's masks."""

    def __init__(self, setting: Setting, folder: Path, threads: int, batch: int) -> None:
        import torch
        import transformers
        import xgrammar

        torch.set_num_threads(threads)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[setting.dtype]
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self._batch = batch
        self._decoder = _decoder(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=self._model.config.vocab_size)
        self._grammar = xgrammar.GrammarCompiler(info, max_threads=threads).compile_grammar(GRAMMAR)

    def answer(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """See Engine. A request takes part in the passes until its batch ends; those after its end are not counted."""
        cpu, wall = time.process_time(), time.perf_counter()
        outputs: list[list[int]] = []
        for start in range(0, len(prompts), self._batch):
            outputs += self._generate(prompts[start : start + self._batch])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        n_tokens = sum(map(len, outputs))
        texts = [self._decoder.decode(ids, skip_special_tokens=True) for ids in outputs]
        return Answers(texts, n_tokens, cpu, wall, passes=n_tokens, cached=0)

    def _generate(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The new tokens of each prompt, its end of sequence the last. Prompts are all of one length."""
        import torch
        from xgrammar.contrib.hf import LogitsProcessor

        ids = torch.tensor(prompts)
        with torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=MAX_OUTPUT_TOKENS,
                do_sample=False,
                logits_processor=[LogitsProcessor(self._grammar)],
            )
        new = out[:, ids.shape[1] :].tolist()
        return [each[: each.index(EOS_ID) + 1] if EOS_ID in each else each for each in new]


class OpenVino:
    """OpenVINO GenAI: continuous batching, prefix cache, its own XGrammar; the model read from a GGUF file."""

    def __init__(self, setting: Setting, folder: Path, threads: int, batch: int) -> None:
        import openvino_genai

        from .serving_gguf import write_gguf

        self._genai = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 2  # GiB
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = batch
        scheduler.dynamic_split_fuse = True
        scheduler.max_num_batched_tokens = 1024
        precision = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}[setting.dtype]
        properties = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": "u8" if setting.dtype == "int8" else precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32 if setting.dtype == "int8" else 0,
        }
        file = write_gguf(folder, "Q8_0" if setting.dtype == "int8" else "F16")
        self._pipe = openvino_genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU", properties)
        self._decoder = _decoder(folder)
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = MAX_OUTPUT_TOKENS
        config.do_sample = False
        config.eos_token_id = EOS_ID
        config.stop_token_ids = {EOS_ID}
        structured = openvino_genai.StructuredOutputConfig()
        structured.grammar = GRAMMAR
        config.structured_output_config = structured
        self._config = config

    def answer(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """See Engine."""
        import numpy as np
        import openvino

        tensors = [openvino.Tensor(np.array([ids], dtype=np.int64)) for ids in prompts]
        cpu, wall = time.process_time(), time.perf_counter()
        results = self._pipe.generate(tensors, [self._config] * len(prompts))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        outputs = [list(each.m_generation_ids[0]) for each in results]
        texts = [self._decoder.decode(ids, skip_special_tokens=True) for ids in outputs]
        return Answers(texts, sum(map(len, outputs)), cpu, wall)


class LlamaCpp:
    """llama.cpp's server: continuous batching over slots, each of which keeps its last prompt; its own grammar.

    Its sampler takes the token likeliest without the grammar, and masks all tokens only where that one is not allowed:
    with weights of noise that is nearly always.
    """

    def __init__(self, setting: Setting, folder: Path, threads: int, batch: int) -> None:
        self._server = LlamaServer(folder, setting.dtype, threads, min(batch, _LLAMA_SLOTS))

    def close(self) -> None:
        """End the server."""
        self._server.close()

    def answer(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """See Engine. Processor time is the server's alone, HTTP in it."""
        wall = time.perf_counter()
        replies, cpu = self._server.complete(prompts)
        wall = time.perf_counter() - wall
        n_tokens = sum(reply["tokens_predicted"] for reply in replies)
        cached = sum(reply["timings"]["cache_n"] for reply in replies)
        return Answers([reply["content"] for reply in replies], n_tokens, cpu, wall, passes=n_tokens, cached=cached)
