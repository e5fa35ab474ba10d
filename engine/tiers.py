"""The tiers below this engine's KV memory: what they cost, and what names the KV they hold."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import torch
import transformers

from .. import __version__
from ..radix.blocks import BlockNames
from ..radix.disk_tier import DiskTier
from ..radix.host_tier import HostTier
from ..radix.tiers import LoadRule, Tiers
from .ports import ForwardBatch, Model
from .types import RootformError

BLOCK_TOKENS = 64
FOLDER = "prefixes"  # inside the cache folder
DEFAULT_DISK_BYTES = 4 << 30

_TIMED_TOKENS = 64
_FORMAT = 1  # of what a page's bytes mean
_IDENTITY = ("*.safetensors", "*.bin", "*.json", "*.jinja", "tokenizer.model", "*.txt")
_READ_BYTES = 16 << 20


class TierLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What tiers may hold.

    host_bytes: host memory beside the page pool; 0: none.  cache_dir: folder for files; None: none.
    disk_bytes: of all files in it.
    """

    host_bytes: int = 0
    cache_dir: Path | None = None
    disk_bytes: int = DEFAULT_DISK_BYTES

    def check(self) -> TierLimits:
        """Itself. Raises RootformError for what cannot be had."""
        if self.host_bytes < 0:
            reason = f"host_cache_bytes is {self.host_bytes}; it must be 0 or more"
            raise RootformError(reason, param="host_cache_bytes")
        if self.disk_bytes < 0:
            reason = f"disk_cache_bytes is {self.disk_bytes}; it must be 0 or more"
            raise RootformError(reason, param="disk_cache_bytes")
        return self


def make_tiers(model: Model, folder: Path, dtype: str, limits: TierLimits) -> Tiers | None:
    """The tiers for a model that was loaded from a folder and has nothing in memory yet; None: none is asked for.

    Raises RootformError when the cache folder cannot be used.
    """
    page_tokens = model.memory.page_tokens
    block_tokens = -(-BLOCK_TOKENS // page_tokens) * page_tokens
    if limits.cache_dir is None or not limits.disk_bytes:
        if not limits.host_bytes:
            return None
        names = BlockNames(b"host memory only", block_tokens)  # is gone with the process
        return Tiers(names, page_tokens, HostTier(limits.host_bytes), None, LoadRule(0.0))
    block_bytes = model.memory.page_bytes * (block_tokens // page_tokens)
    names = BlockNames(fingerprint(folder, dtype, block_bytes), block_tokens)
    try:
        disk = DiskTier(
            limits.cache_dir / FOLDER, names.fingerprint, block_tokens, block_bytes, max_bytes=limits.disk_bytes
        )
    except OSError as error:
        reason = f"cached KV cannot be kept in {limits.cache_dir}: {error}; give a folder that can be written to"
        raise RootformError(reason, param="cache_dir") from error
    host = HostTier(limits.host_bytes) if limits.host_bytes else None
    return Tiers(names, page_tokens, host, disk, LoadRule(_seconds_per_token(model)))


def tier_stats(tiers: Tiers | None) -> dict[str, int]:
    """Its part of EngineStats, by field."""
    if tiers is None:
        return {}
    host, disk = tiers.host, tiers.disk
    return {
        "host_tier_tokens": tiers.host_tokens,
        "disk_tier_tokens": tiers.disk_tokens,
        "host_tier_bytes": 0 if host is None else host.nbytes,
        "disk_tier_bytes": 0 if disk is None else disk.nbytes,
        "disk_tier_written_bytes": 0 if disk is None else disk.written * disk.block_bytes,
    }


def fingerprint(folder: Path, dtype: str, block_bytes: int) -> bytes:
    """Names everything that decides the KV of a text, and how it is written down: each byte of the model's files
    (weights, configuration, tokenizer), the number format, the versions and the code that compute, the processor's
    instructions. Reads all of the weights: about a second per GiB."""
    about = {
        "format": _FORMAT,
        "block_bytes": block_bytes,
        "dtype": dtype,
        "files": _digests(folder),
        "versions": (__version__, torch.__version__, transformers.__version__, np.__version__),
        "code": _CODE,
        "processor": (platform.machine(), torch.backends.cpu.get_cpu_capability()),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()


def _digests(folder: Path) -> list[tuple[str, str]]:
    files = sorted({file for pattern in _IDENTITY for file in folder.glob(pattern) if file.is_file()})
    with ThreadPoolExecutor() as threads:
        digests = threads.map(lambda file: _digest_of([file]), files)
        return [(file.name, digest) for file, digest in zip(files, digests, strict=True)]


def _digest_of(files: Sequence[Path]) -> str:
    digest, buffer = hashlib.sha256(), bytearray(_READ_BYTES)
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while n := file.readinto(buffer):
                digest.update(memoryview(buffer)[:n])
    return digest.hexdigest()


_CODE = _digest_of(sorted(Path(__file__).parent.glob("*.py")))
"""Of this package, read when it is imported: files changed later are not what this process runs."""


def _seconds_per_token(model: Model) -> float:
    """How long a prompt's token takes, in a pass of some; the model's memory is left as it was."""
    n = min(_TIMED_TOKENS, model.memory.total_pages * model.memory.page_tokens, model.context_tokens)
    slot = model.memory.open(np.empty(0, dtype=np.int32), 0, n)
    assert slot is not None, "this is measured before anything is in memory"
    batch = ForwardBatch(
        token_ids=np.zeros(n, dtype=np.int64),
        positions=np.arange(n, dtype=np.int64),
        slots=np.array([slot], dtype=np.int32),
        starts=np.zeros(1, dtype=np.int32),
        lengths=np.array([n], dtype=np.int32),
        logit_rows=np.array([n - 1], dtype=np.int64),
    )
    try:
        began = time.perf_counter()
        model.forward(batch)
        return (time.perf_counter() - began) / n
    finally:
        model.memory.close(slot)
