"""Write a sprout as a folder that transformers loads: weights, configuration, tokenizer, chat template."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from .net import Shape
from .tokenizer import CHAT_TEMPLATE, DOCUMENT, END, PAD, SPECIALS, token_id

CONTEXT = 512


def export(weights: dict[str, Tensor], shape: Shape, tokenizer: Tokenizer, out: Path) -> None:
    """Write everything but the model card. The weights go last and whole, so a reader never sees half of them."""
    out.mkdir(parents=True, exist_ok=True)
    specials = {name: token_id(tokenizer, name) for name in SPECIALS}
    write_json(out / "config.json", configuration(shape, specials))
    write_json(out / "generation_config.json", generation(specials))
    write_json(out / "tokenizer_config.json", tokenizer_configuration())
    write_json(out / "rootform.json", {"extract_prompt": "{document}"})
    tokenizer.save(str(out / "tokenizer.json"))
    half = {f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
    save_file(half, out / "model.safetensors.part", metadata={"format": "pt"})
    os.replace(out / "model.safetensors.part", out / "model.safetensors")


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that export() wrote, by the network's own names, in float32."""
    weights = load_file(folder / "model.safetensors")
    return {name.removeprefix("model."): value.float() for name, value in weights.items()}


def write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def configuration(shape: Shape, specials: dict[str, int]) -> dict[str, object]:
    """transformers' description of the network."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": specials[DOCUMENT],
        "dtype": "bfloat16",
        "eos_token_id": specials[END],
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "initializer_range": 0.02,
        "intermediate_size": shape.inner,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": False,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.heads,
        "pad_token_id": specials[PAD],
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": shape.vocab,
    }


def generation(specials: dict[str, int]) -> dict[str, object]:
    """Greedy until <|end|>."""
    return {
        "bos_token_id": specials[DOCUMENT],
        "eos_token_id": specials[END],
        "pad_token_id": specials[PAD],
        "do_sample": False,
        "max_new_tokens": 256,
    }


def tokenizer_configuration() -> dict[str, object]:
    """How transformers wraps tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": DOCUMENT,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }
