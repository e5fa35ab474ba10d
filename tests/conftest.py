"""What several rooms' tests need: a tiny real model in a folder, and a client of a server around an engine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from hypothesis import HealthCheck, settings

from rootform import Engine, HttpClient
from rootform.server.app import create_app

# A shell has what it runs in the background ignore interrupts, which tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `make test` tries the same examples on every machine, `make test-all` new ones each time (`Makefile`). A machine may
# be slow: nothing is timed.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_UNTIMED)
settings.register_profile("new", print_blob=True, **_UNTIMED)

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def save_tiny_model(folder: Path) -> None:
    """A Llama of two small layers with random weights, and a tokenizer whose tokens are bytes and a few pairs."""
    import tokenizers
    import torch
    import transformers
    from tokenizers import decoders, pre_tokenizers
    from tokenizers.models import BPE

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("e", "n"), ("i", "n"), ("Ġ", "a"), ('"', ":"), ('"', ",")]
    words = ["<eos>", *alphabet, *(a + b for a, b in pairs)]
    backend = tokenizers.Tokenizer(BPE({word: i for i, word in enumerate(words)}, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=0,
        bos_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama with a byte-level tokenizer and a chat template; made once a run."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def over_http(engine: Engine) -> Iterator[HttpClient]:
    """A client of a server around the module's own `engine`."""
    server = uvicorn.Server(uvicorn.Config(create_app(engine), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    with HttpClient(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}") as client:
        yield client
    server.should_exit = True
    thread.join()
