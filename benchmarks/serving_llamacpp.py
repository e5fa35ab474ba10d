"""llama.cpp's server as a peer: a process of its own, asked over HTTP, its processor time by its own clock.

No package index has a wheel with the server, but the source archive of llama-cpp-python on PyPI holds llama.cpp whole:

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-*.tar.gz && cd llama_cpp_python-*/vendor/llama.cpp
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF \\
      -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \\
      -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_APP=OFF
    ninja -C build llama-server        # makes build/bin/llama-server from some 200 files

Then `--peers llamacpp --llama-server build/bin/llama-server`, or the binary on PATH.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from .serving_workload import GRAMMAR, MAX_OUTPUT_TOKENS

VARIABLE = "ROOTFORM_LLAMA_SERVER"
"""Environment variable with the path of the server, for the processes that engines run in."""

_SLOT_TOKENS = 1280  # prompt and output of one request, and some room
_START_S = 120.0
_ANSWER_S = 1800.0
_KINDS = {"fp32": "F32", "bf16": "BF16", "int8": "Q8_0"}
_CACHE = {
    "fp32": "f32",
    "bf16": "f16",
    "int8": "f16",
}  # measured: it is slower with bf16, and with f32 or q8_0 for int8


def find_server() -> Path | None:
    """Where the server's binary is; None: nowhere we know."""
    found = shutil.which(os.environ.get(VARIABLE) or "llama-server")
    return None if found is None else Path(found).resolve()


class Clock:
    """Processor seconds of another process, all its threads, those that have ended too (Linux)."""

    def __init__(self, pid: int) -> None:
        clock = ctypes.c_int()
        if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
            raise OSError(error, f"no processor clock of process {pid}: {os.strerror(error)}")
        self._clock = clock.value

    def seconds(self) -> float:
        """Since the process began."""
        return time.clock_gettime(self._clock)


class LlamaServer:
    """The server over one model file. One request a slot; each slot keeps the KV of its last prompt."""

    def __init__(self, folder: Path, dtype: str, threads: int, slots: int) -> None:
        """Raises RuntimeError, with the last of what the server said, when it does not come up."""
        from .serving_gguf import write_gguf

        server = find_server()
        if server is None:
            raise RuntimeError("llama-server is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
        self._slots = slots
        options = {
            "--model": write_gguf(folder, _KINDS[dtype]),
            "--host": "127.0.0.1",
            "--port": self._port,
            "--threads": threads,
            "--threads-batch": threads,
            "--threads-http": 2,
            "--parallel": slots,
            "--ctx-size": slots * _SLOT_TOKENS,
            "--cache-type-k": _CACHE[dtype],
            "--cache-type-v": _CACHE[dtype],
            "--poll": 0,  # no spinning: it would count as processor time
        }
        arguments = [str(part) for pair in options.items() for part in pair]
        self._process = subprocess.Popen([str(server), *arguments], stdout=self._said, stderr=self._said)
        self._clock = Clock(self._process.pid)
        self._wait_until_ready()

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def complete(self, prompts: Sequence[Sequence[int]]) -> tuple[list[dict[str, Any]], float]:
        """The server's reply to each prompt, all asked at once, and its processor seconds."""
        before = self._clock.seconds()
        with ThreadPoolExecutor(len(prompts)) as pool:
            replies = list(pool.map(self._complete, prompts))
        return replies, self._clock.seconds() - before

    def _complete(self, prompt: Sequence[int]) -> dict[str, Any]:
        asked = {
            "prompt": list(prompt),
            "n_predict": MAX_OUTPUT_TOKENS,
            "grammar": GRAMMAR,
            "temperature": 0,
            "samplers": ["temperature"],
            "cache_prompt": True,
        }
        status, reply = self._send("POST", "/completion", json.dumps(asked))
        if status != 200:
            raise RuntimeError(f"llama-server answered {status}: {reply[:300]}")
        return json.loads(reply)

    def _send(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _START_S
        while True:
            try:
                if self._send("GET", "/health")[0] == 200:
                    return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > until:
                said = self._last_words()
                self.close()
                raise RuntimeError(f"llama-server did not come up: {said}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
