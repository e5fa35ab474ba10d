"""A model folder of the benchmark as one GGUF file, for peers that read those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(folder: Path, kind: str) -> Path:
    """The file, written unless it is there. kind: F32, F16, BF16 or Q8_0.

    A Llama goes in as a Qwen2 whose biases are zero: the same model, and no order of rotary dimensions to get wrong.
    """
    import gguf
    from safetensors.numpy import load_file

    target = folder / f"model-{kind}.gguf"
    if target.is_file():
        return target
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(target) + ".part", "qwen2")
    _describe(writer, config)
    _tokenizer(writer, folder)
    quantized = getattr(gguf.GGMLQuantizationType, kind)
    writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"))
    weights = load_file(folder / "model.safetensors")
    for name, data in _with_biases(weights, config).items():
        new = _renamed(name)
        if data.ndim == 1:
            writer.add_tensor(new, data.astype(np.float32))
        else:
            writer.add_tensor(new, gguf.quants.quantize(data.astype(np.float32), quantized), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    Path(str(target) + ".part").rename(target)
    return target


def _describe(writer: Any, config: dict[str, Any]) -> None:
    writer.add_name("noise")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def _tokenizer(writer: Any, folder: Path) -> None:
    import gguf

    read = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    words = sorted(read["model"]["vocab"], key=read["model"]["vocab"].__getitem__)
    special = {each["content"] for each in read["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words])
    writer.add_token_merges([" ".join(pair) for pair in read["model"]["merges"]])
    writer.add_eos_token_id(words.index("<eos>"))
    writer.add_bos_token_id(words.index("<eos>"))
    writer.add_pad_token_id(words.index("<eos>"))
    writer.add_add_bos_token(False)


def _with_biases(weights: dict[str, np.ndarray], config: dict[str, Any]) -> dict[str, np.ndarray]:
    filled = dict(weights)
    for name, data in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            filled.setdefault(name.replace(".weight", ".bias"), np.zeros(len(data), dtype=np.float32))
    return filled


def _renamed(name: str) -> str:
    base, kind = name.rsplit(".", 1)
    if base in _TOP:
        return f"{_TOP[base]}.{kind}"
    _, _, layer, part = base.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.{kind}"
