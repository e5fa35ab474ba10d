"""What a real model computed comes back, from host memory or a restart later, and changes no token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from rootform.engine import tiers as engine_tiers
from rootform.engine.accept import make_call
from rootform.engine.api import Engine
from rootform.engine.tiers import fingerprint
from rootform.engine.types import RootformError

PROMPT = [1 + (7 * n + n * n) % 250 for n in range(200)]
N_BLOCKS_TOKENS = 192  # of the 199 tokens before the last
PROMPTS = [PROMPT, PROMPT[:150], [*PROMPT[:130], 9, 9, 9], PROMPT[50:120], [5, 6, 7]]


def ask(engine: Engine, prompts: list[list[int]], namespace: str = "") -> list[tuple[int, ...]]:
    jobs = [engine.submit(make_call(each, max_tokens=12, namespace=namespace)) for each in prompts]
    return [job.result().token_ids for job in jobs]


def kv_of(engine: Engine, ids: list[int]) -> bytes:
    """The KV the engine has of a prefix, all of which must be cached."""

    def read() -> bytes:
        prefixes = engine._loop.prefixes
        match = prefixes.tree.match(np.array(ids, dtype=np.int32))
        assert match.n_tokens == len(ids)
        return prefixes.memory.copy_out(match.pages).tobytes()

    return engine._thread.ask(read)


def test_cold_warm_and_restored_are_the_same(tiny_model: Path, device: Any, tmp_path: Path) -> None:
    with device.engine(tiny_model, prefix_cache=False) as engine:
        wanted = ask(engine, PROMPTS)
    with device.engine(tiny_model, cache_dir=tmp_path, kv_bytes=1 << 20) as engine:
        assert ask(engine, PROMPTS) == wanted
        assert ask(engine, PROMPTS) == wanted
        assert engine.stats().disk_tier_tokens == 0
        computed = kv_of(engine, PROMPT[:N_BLOCKS_TOKENS])
    with device.engine(tiny_model, cache_dir=tmp_path, kv_bytes=1 << 20) as engine:
        assert ask(engine, PROMPTS) == wanted
        assert engine.stats().disk_tier_tokens >= N_BLOCKS_TOKENS
        assert engine.stats().cached_tokens >= engine.stats().disk_tier_tokens
        assert kv_of(engine, PROMPT[:N_BLOCKS_TOKENS]) == computed


def test_little_memory_and_tiers_are_the_same_too(tiny_model: Path, device: Any, tmp_path: Path) -> None:
    prompts = [PROMPT[:170], [*PROMPT[:100], *PROMPT[20:90]], PROMPT[::-1][:170], PROMPT[:170]] * 3
    with device.engine(tiny_model, prefix_cache=False) as engine:
        wanted = [ask(engine, [each])[0] for each in prompts]
    n_tokens = 400 if device.there is None else 272  # where handing a prompt to the tree copies nothing
    with device.engine(tiny_model, cache_dir=tmp_path, kv_bytes=n_tokens * 256, host_cache_bytes=100 * 256) as engine:
        assert engine.stats().pages_total * engine._loop.model.memory.page_tokens == n_tokens
        assert [ask(engine, [each])[0] for each in prompts] == wanted
        stats = engine.stats()
        assert stats.host_tier_tokens + stats.disk_tier_tokens > 0
        assert 0 < stats.host_tier_bytes <= 100 * 256
        assert stats.disk_tier_bytes > 0
        engine.clear_cache()
        assert not list(tmp_path.rglob("*.kv"))


def test_a_damaged_file_is_recomputed(
    tiny_model: Path, device: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with device.engine(tiny_model, cache_dir=tmp_path) as engine:
        wanted = ask(engine, [PROMPT])
    files = sorted(tmp_path.rglob("*.kv"))
    assert len(files) == 3
    for file in files:
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 4
        file.write_bytes(raw)
    with device.engine(tiny_model, cache_dir=tmp_path) as engine:
        assert ask(engine, [PROMPT]) == wanted
        assert engine.stats().cached_tokens == 0
    warned = [record.getMessage() for record in caplog.records if "not used" in record.getMessage()]
    assert len(warned) == 1  # of the first block; what follows it was not asked for
    assert "checksum" in warned[0]


def test_other_weights_tokenizers_and_formats_have_other_names(tiny_model: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in tiny_model.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    first = fingerprint(tiny_model, "float32", 64)
    assert fingerprint(copy("same"), "float32", 64) == first
    weights = load_file(copy("weights") / "model.safetensors")
    weights[min(weights)].view(-1)[-1] += 1e-3
    save_file(weights, tmp_path / "weights" / "model.safetensors", {"format": "pt"})
    words = copy("words") / "tokenizer.json"
    words.write_text(words.read_text().replace('"Ġa"', '"Ġb"'))
    others = [
        fingerprint(tmp_path / "weights", "float32", 64),
        fingerprint(tmp_path / "words", "float32", 64),
        fingerprint(tiny_model, "bfloat16", 64),
        fingerprint(tiny_model, "float32", 128),
    ]
    assert len({first, *others}) == 5
    with Engine(tiny_model, threads=1, cache_dir=tmp_path / "cache") as engine:
        ask(engine, [PROMPT])
    with Engine(tmp_path / "weights", threads=1, cache_dir=tmp_path / "cache") as engine:
        ask(engine, [PROMPT])
        assert engine.stats().cached_tokens == 0


def test_a_process_has_one_name_for_its_code(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files that change while it runs (an upgrade, an edit) are not the code it runs."""
    before = fingerprint(tiny_model, "float32", 64)
    (tmp_path / "other.py").write_text("")
    monkeypatch.setattr(engine_tiers, "__file__", str(tmp_path / "tiers.py"))
    assert fingerprint(tiny_model, "float32", 64) == before
    monkeypatch.setattr(engine_tiers, "_CODE", "that of another version")
    assert fingerprint(tiny_model, "float32", 64) != before


def test_what_cannot_be_had_is_said_at_the_start(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for options in ({"cache_dir": file}, {"disk_cache_bytes": -1}, {"host_cache_bytes": -1}):
        with pytest.raises(RootformError, match=next(iter(options)) + r"|cannot be kept in .*file"):
            Engine(tiny_model, threads=1, **options)
