"""Models by name and in folders, and what their makers note about them."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from rootform.engine import resolve
from rootform.engine.loading import read_notes
from rootform.engine.types import RootformError
from tests.engine.api.conftest import EOS, N_TOKENS, SCHEMA, TOKENIZER, WRAPPED


def test_a_model_in_a_folder(tmp_path, device):
    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=N_TOKENS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=200,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=EOS,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    WRAPPED.save_pretrained(tmp_path)
    (tmp_path / "rootform.json").write_text('{"extract_prompt": "read {document}"}')
    ids = torch.tensor([TOKENIZER.encode("a document")])
    want = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)[
        0, ids.shape[1] :
    ]
    with device.engine(tmp_path, kv_bytes=2_000_000) as engine:
        assert engine.info.extract_prompt == "read {document}"
        assert engine.info.context_tokens == 200
        got = engine.generate("a document", max_tokens=12)
        assert list(got.token_ids) == [each for each in want.tolist() if each != EOS]
        text = engine.generate("a document", schema=SCHEMA, max_tokens=60).text
        assert json.loads(text).keys() == {"name", "tags"}


def test_names_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "_PACKAGED", tmp_path / "gone")
    with pytest.raises(RootformError, match="the bundled model is not there") as caught:
        resolve.resolve_model("sprout")
    assert caught.value.status == 404
    with pytest.raises(RootformError, match=r"no config\.json in it"):
        resolve.resolve_model(tmp_path)
    with pytest.raises(RootformError, match="there is no such folder; give a folder"):
        resolve.resolve_model("/no/such/place/at/all")
    (tmp_path / "config.json").write_text("{}")
    assert resolve.resolve_model(tmp_path) == tmp_path.resolve()


def test_hub_names_go_to_the_hub(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append(name)
        if name == "some/gated":
            raise OSError("401 gated")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert resolve.resolve_model("some/model") == tmp_path
    with pytest.raises(RootformError, match="Hub did not give it: 401 gated"):
        resolve.resolve_model("some/gated")
    assert asked == ["some/model", "some/gated"]


def test_the_makers_notes(tmp_path):
    assert read_notes(tmp_path).extract_prompt is None
    (tmp_path / "rootform.json").write_text('{"extract_prompt": "{document}"}')
    assert read_notes(tmp_path).extract_prompt == "{document}"
    (tmp_path / "rootform.json").write_text('{"extract": 1}')
    with pytest.raises(RootformError, match=r"rootform\.json: .*extract"):
        read_notes(tmp_path)
