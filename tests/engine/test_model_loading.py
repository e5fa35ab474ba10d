"""What cannot be served is refused at load, with what is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from rootform.engine.model import load_model
from rootform.engine.types import RootformError

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}


def save(config: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return save(transformers.LlamaConfig(**SIZES), tmp_path / "llama")


def test_a_loaded_model_says_what_it_is(llama: Path) -> None:
    model = load_model(llama, kv_bytes=100 * 128)
    assert (model.vocab_size, model.context_tokens) == (50, 64)
    assert model.memory.total_pages == model.memory.free_pages == 100
    assert load_model(str(llama), kv_bytes=30 * 128).context_tokens == 30  # no longer than memory
    assert load_model(llama, dtype="bfloat16", kv_bytes=100 * 64).memory.total_pages == 100


def test_a_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        RootformError, match="no model 'someone/nothing': there is no such folder, and no model"
    ) as error:
        load_model("someone/nothing")
    assert error.value.status == 404
    with pytest.raises(RootformError, match="there is no such folder"):
        load_model(tmp_path / "a" / "b" / "c")


def test_a_folder_without_config_or_weights(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(RootformError, match=r"has no config\.json; give a folder written by save_pretrained"):
        load_model(tmp_path)
    (llama / "model.safetensors").unlink()
    with pytest.raises(RootformError, match=r"has a config\.json but no weights"):
        load_model(llama)


def test_a_config_transformers_does_not_know(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"model_type": "marble"}))
    with pytest.raises(RootformError, match=r"transformers cannot load this model \(model_type 'marble'\)"):
        load_model(llama)
    (llama / "config.json").write_text("{")
    with pytest.raises(RootformError, match=r"config\.json cannot be read|cannot load this model"):
        load_model(llama)


def test_weights_that_do_not_fill_the_model(llama: Path) -> None:
    tensors = load_file(llama / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, llama / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        RootformError, match=r"the weights lack 1 of the model's tensors \(model\.layers\.1\.mlp\.up_proj"
    ):
        load_model(llama)


def test_damaged_weights(llama: Path) -> None:
    whole = (llama / "model.safetensors").read_bytes()
    (llama / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RootformError, match="transformers cannot load this model"):
        load_model(llama)


def test_options_that_do_not_exist(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RootformError, match="dtype 'int3' is not known"):
        load_model(llama, dtype="int3")  # type: ignore[arg-type]
    monkeypatch.setattr("rootform.engine.model.int8_trouble", lambda: "no VNNI")
    with pytest.raises(RootformError, match=r"'int8' cannot be had on this machine: no VNNI"):
        load_model(llama, dtype="int8")
    with pytest.raises(RootformError, match="device 'abacus' is not known"):
        load_model(llama, device="abacus")
    with pytest.raises(RootformError, match="there is no room for KV"):
        load_model(llama, kv_bytes=100)


REFUSED = {
    "own attention": (
        lambda: transformers.BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=2),
        r"BloomForCausalLM cannot be served: ",
    ),
    "a state beside attention": (
        lambda: transformers.MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2),
        r"MambaForCausalLM cannot be served: ",
    ),
    "positions that move": (
        lambda: transformers.LlamaConfig(
            **SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
        ),
        r"LlamaForCausalLM cannot be served: its rope_type is 'dynamic'",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_model_that_cannot_be_served_is_refused_by_name(why: str, tmp_path: Path) -> None:
    config, message = REFUSED[why]
    with pytest.raises(RootformError, match=message):
        load_model(save(config(), tmp_path), kv_bytes=100_000)


def test_a_model_whose_logits_differ_from_transformers_own_is_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its attention did something that neither the probe nor the arguments show."""
    from rootform.engine import attention

    merged = attention.StepAttention.__call__
    monkeypatch.setattr(attention.StepAttention, "__call__", lambda *args, **kwargs: merged(*args, **kwargs) * 1.1)
    with pytest.raises(RootformError, match="with rootform's attention its logits differ"):
        load_model(llama, kv_bytes=100_000)
