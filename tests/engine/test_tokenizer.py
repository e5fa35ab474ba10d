"""The bytes behind every token, the special ones, and chat templates; on tiny tokenizers of both families."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Message, RootformError

TEXTS = ["the quick brown fox", 'jumps over {"name": "a lazy dog", "age": 12}', "naïve café — 東京 👍🏽"] * 3
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
SPECIALS = ["<s>", "</s>"]


def byte_level():
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def byte_fallback():
    """As Llama 2's and Gemma's: spaces marked, unknown characters spelled in bytes."""
    specials = [*SPECIALS, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=specials, show_progress=False)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.train_from_iterator(TEXTS, trainer)
    spec = json.loads(backend.to_str())
    byte_ids = [token["id"] for token in spec["added_tokens"] if token["content"].startswith("<0x")]
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["id"] not in byte_ids]
    backend = Backend.from_str(json.dumps(spec))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


def wrap(backend, **fields) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", **fields)


LEVEL = Tokenizer(wrap(byte_level(), chat_template=TEMPLATE))
FALLBACK = Tokenizer(wrap(byte_fallback(), unk_token="<unk>"))


def bytes_of(tokenizer, ids):
    return b"".join(tokenizer.token_bytes[i] for i in ids)


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(text=texts | st.sampled_from(TEXTS))
def test_byte_level_tokens_spell_the_text(text):
    assert bytes_of(LEVEL, LEVEL.encode_bare(text)) == text.encode()


@given(text=texts | st.sampled_from(TEXTS))
def test_byte_fallback_tokens_spell_the_text_behind_its_prefix_space(text):
    if "▁" in text:  # SentencePiece itself cannot tell this character from a space
        text = text.replace("▁", "")
    ids = FALLBACK.encode_bare(text)
    assert bytes_of(FALLBACK, ids) == (b" " + text.encode() if text else b"")


def test_every_byte_has_a_token_in_both_families():
    for tokenizer in (LEVEL, FALLBACK):
        assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.token_bytes)


def test_special_tokens_have_no_bytes_and_other_added_ones_their_own():
    backend = byte_level()
    backend.add_tokens([AddedToken('"naïve":', normalized=False)])
    backend.add_special_tokens([AddedToken("<|tool|>", special=True)])
    tokenizer = Tokenizer(wrap(backend), eos_ids=[backend.token_to_id("<|tool|>")])
    assert bytes_of(tokenizer, tokenizer.encode_bare('{"naïve":')) == '{"naïve":'.encode()
    assert len(tokenizer.encode_bare('"naïve":')) == 1
    for name in ("<s>", "</s>", "<|tool|>"):
        assert tokenizer.token_bytes[backend.token_to_id(name)] == b""
    assert tokenizer.eos_ids == {backend.token_to_id("</s>"), backend.token_to_id("<|tool|>")}


def test_plain_prompts_get_bos_where_the_tokenizer_adds_it_and_chats_write_it_themselves():
    backend = byte_level()
    bos = backend.token_to_id("<s>")
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    tokenizer = Tokenizer(wrap(backend, chat_template=TEMPLATE))
    assert tokenizer.encode("fox")[0] == bos
    chat = tokenizer.encode_chat([Message("user", "fox")])
    assert chat.count(bos) == 2  # those of the template: the user's turn and the opened answer
    assert chat[0] == bos != chat[1]


def test_chat_templates_open_an_answer_or_continue_one():
    turns = [Message("user", "hi"), Message("assistant", "well, ")]
    assert LEVEL.render_chat(turns[:1]) == "<s>user: hi</s><s>assistant: "
    assert LEVEL.render_chat(turns, continue_final=True).rstrip() == "<s>user: hi</s><s>assistant: well,"


@pytest.mark.parametrize(
    ("messages", "continue_final", "message"),
    [
        ([Message("system", "x")], False, "chat template refused the messages: no system here"),
        ([Message("user", "x")], True, "the last one is of 'user'"),
        ([], False, "messages is empty"),
    ],
)
def test_what_a_template_refuses_is_the_callers_error(messages, continue_final, message):
    with pytest.raises(RootformError, match=message) as caught:
        LEVEL.encode_chat(messages, continue_final=continue_final)
    assert (caught.value.status, caught.value.param) == (400, "messages")


def test_without_a_template_chats_are_refused():
    assert not FALLBACK.has_chat_template
    with pytest.raises(RootformError, match="no chat template; give `prompt`"):
        FALLBACK.encode_chat([Message("user", "x")])


def test_a_tokenizer_that_hides_its_bytes_is_refused():
    backend = Backend(models.WordPiece({"<s>": 0, "</s>": 1, "a": 2, "##b": 3}, unk_token="<s>"))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(RootformError, match=r"decoder \(WordPiece\) does not say which bytes"):
        Tokenizer(wrap(backend))


def test_loading_from_a_folder_collects_every_end_token(tmp_path):
    wrap(byte_level()).save_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 5}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [6, 7]}))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.eos_ids == {1, 5, 6, 7}
    assert tokenizer.token_bytes == LEVEL.token_bytes


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(RootformError, match="no usable tokenizer in"):
        Tokenizer.load(tmp_path)
