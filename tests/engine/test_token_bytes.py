"""Vocabularies of every kind of tokenizer: what the grammar sees is what the tokens spell and the decoder shows."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Regex as SplitRegex
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from rootform.engine.detokenise import Detokeniser
from rootform.engine.grammars import Grammars
from rootform.engine.spelling import Speller
from rootform.engine.step import StepLoop
from rootform.engine.tekken import ranked_tokenizer, read_tekken
from rootform.engine.token_bytes import bytes_of_tokens
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Finished, RootformError, Sampling
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import Choice, Regex
from rootform.grammar.generation_batch import GenerationBatch
from rootform.grammar.generations import Generations
from rootform.grammar.vocab import Vocabulary

TEXTS = ["the quick brown fox", 'jumps over {"name": "a lazy dog", "age": 12}', "naïve café — 東京 👍🏽"] * 3
PATTERN = r"[^\s]+|\s+"
PADDING = 37
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁<["), max_size=20)
"""Without the mark for spaces, and without what special tokens begin with: those are found in text too."""


def byte_level() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_tokens([AddedToken("  ", normalized=False), AddedToken("caf", normalized=False)])
    return backend


def llama_2() -> Backend:
    """BPE over marked spaces, bytes for the rest, and a decoder that drops the space at the start."""
    pieces = ["▁", "▁the", "▁▁", "e", "t", "h", "é", "東", "ca", "c", "a", '"', "{", "}"]
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    merges = [("c", "a")]
    backend = Backend(
        models.BPE({t: i for i, t in enumerate(vocabulary)}, merges, byte_fallback=True, unk_token="<unk>")
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "</s>")])
    backend.add_tokens([AddedToken("▁▁▁", normalized=False)])
    return backend


def unigram() -> Backend:
    """SentencePiece's other model, with a Metaspace decoder, an unknown token and no bytes."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -3.0), ("▁the", -2.0)]
    pieces += [(char, -5.0) for char in "abcdefghijklmnopqrstuvwxyzé東0123456789"]
    backend = Backend(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    backend.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "</s>")])
    return backend


def tekken() -> Backend:
    return ranked_tokenizer(ranked(TEXTS, 60), PATTERN, ["<unk>", "<s>", "</s>", "[INST]"])


def ranked(texts: list[str], n_merges: int) -> list[bytes]:
    """Tokens by rank, as tiktoken's own lesson trains them: bytes, then the commonest pair, again and again."""
    tokens = [bytes([byte]) for byte in range(256)]
    words = [[bytes([byte]) for byte in text.encode()] for text in texts]
    for _ in range(n_merges):
        pairs = [pair for word in words for pair in itertools.pairwise(word)]
        best = max(sorted(set(pairs)), key=pairs.count)
        tokens.append(b"".join(best))
        words = [joined(word, best) for word in words]
    return list(dict.fromkeys(tokens))


def joined(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    out: list[bytes] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


KINDS: dict[str, Callable[[], Backend]] = {
    "byte-level": byte_level,
    "llama 2": llama_2,
    "unigram": unigram,
    "tekken": tekken,
}
REGEXES = {
    "byte-level": r'[ a-zé東👍"{}]{1,6}',
    "llama 2": r'[ a-zé東👍"{}]{1,6}',
    "unigram": r"[ a-zé東]{1,6}",
    "tekken": r'[ a-zé東👍"{}]{1,6}',
}


@cache
def loaded(kind: str) -> tuple[Backend, Tokenizer, Automaton]:
    backend = KINDS[kind]()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer = Tokenizer(wrapped)
    table = tokenizer.token_bytes
    vocabulary = Vocabulary(table, tuple(tokenizer.eos_ids), len(table) + PADDING)
    return backend, tokenizer, Automaton(vocabulary)


def allowed_tokens(automaton: Automaton, states: StateBatch, slots: np.ndarray) -> list[int]:
    row_id = states.row_ids(slots)[0]  # first: it may make rows
    row = automaton.rows[row_id]
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist()


def random_output(kind: str, rng: random.Random) -> list[int]:
    """Tokens, each out of those allowed, up to where EOS is drawn."""
    _, tokenizer, automaton = loaded(kind)
    states = StateBatch(automaton)
    slots = np.array([states.open(automaton.compile(Regex(REGEXES[kind])))], np.int32)
    ids: list[int] = []
    while True:
        allowed = allowed_tokens(automaton, states, slots)
        assert max(allowed) < len(tokenizer.token_bytes), "an id of the padding is allowed"
        token = rng.choice(allowed)
        if token in tokenizer.eos_ids:
            return ids
        assert tokenizer.token_bytes[token], "a token without bytes is allowed"
        assert states.advance(slots, np.array([token], np.int32))[0]
        ids.append(token)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_what_the_grammar_sees_is_what_the_decoder_shows(kind: str, seed: int) -> None:
    backend, tokenizer, automaton = loaded(kind)
    ids = random_output(kind, random.Random(seed))
    seen = b"".join(tokenizer.token_bytes[i] for i in ids)
    root = automaton.compile(Regex(REGEXES[kind]))
    states = StateBatch(automaton)
    slots = np.array([states.open(root)], np.int32)
    for token in automaton.vocabulary.spell(seen):
        assert states.advance(slots, np.array([token], np.int32))[0]
    assert states.accepting(slots)[0], "other tokens of the same bytes are seen otherwise"
    shown = Detokeniser(tokenizer.token_bytes)
    assert "".join(map(shown.push, ids)) + shown.finish() == seen.decode()
    decoded = backend.decode(ids, skip_special_tokens=False)
    drops_space = kind == "llama 2"
    if not any(i in backend.get_added_tokens_decoder() for i in ids):
        assert decoded == (seen.decode().removeprefix(" ") if drops_space else seen.decode())


@pytest.mark.parametrize("kind", ["byte-level", "llama 2", "tekken"])
@given(text=TEXT)
def test_what_is_encoded_is_spelled(kind: str, text: str) -> None:
    _, tokenizer, _ = loaded(kind)
    spelled = b"".join(tokenizer.token_bytes[i] for i in tokenizer.encode_bare(text))
    assert spelled == (b" " if kind == "llama 2" and text else b"") + text.encode()


@pytest.mark.parametrize("kind", ["byte-level", "llama 2", "tekken"])
@given(text=TEXT)
def test_text_behind_other_text_gets_no_space_of_its_own(kind: str, text: str) -> None:
    _, tokenizer, _ = loaded(kind)
    ids = tokenizer.encode_inside(text)
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == text.encode()
    if text.startswith(" ") and not text.startswith("  "):
        assert ids == tokenizer.encode_bare(text[1:] if kind == "llama 2" else text)


def test_fragments_of_characters_are_tokens_and_only_whole_ones_come_out() -> None:
    _, tokenizer, automaton = loaded("llama 2")
    fire = "👍".encode()
    assert all(bytes([byte]) in tokenizer.token_bytes for byte in fire)
    states = StateBatch(automaton)
    slots = np.array([states.open(automaton.compile(Regex("👍+")))], np.int32)
    for i, byte in enumerate(fire):
        allowed = allowed_tokens(automaton, states, slots)
        assert {tokenizer.token_bytes[token] for token in allowed} == {bytes([byte])}, i
        states.advance(slots, np.array(allowed[:1], np.int32))
    assert states.accepting(slots)[0]


def test_two_ids_of_the_same_bytes_are_both_allowed() -> None:
    backend, tokenizer, automaton = loaded("llama 2")
    pair = [backend.token_to_id("a"), backend.token_to_id("<0x61>")]
    assert [tokenizer.token_bytes[token] for token in pair] == [b"a", b"a"]
    states = StateBatch(automaton)
    slots = np.array([states.open(automaton.compile(Regex("a")))], np.int32)
    assert sorted(allowed_tokens(automaton, states, slots)) == sorted(pair)


def test_tokens_that_no_output_may_hold() -> None:
    for kind in KINDS:
        backend, tokenizer, _ = loaded(kind)
        for name in ("<unk>", "<s>", "</s>", "[INST]"):
            if (token := backend.token_to_id(name)) is not None:
                assert tokenizer.token_bytes[token] == b"", (kind, name)


def test_marks_in_added_tokens_are_spaces_where_the_decoder_makes_them_spaces() -> None:
    backend, tokenizer, _ = loaded("llama 2")
    assert tokenizer.token_bytes[backend.token_to_id("▁▁▁")] == b"   "
    backend, tokenizer, _ = loaded("byte-level")
    assert tokenizer.token_bytes[backend.token_to_id("caf")] == b"caf"
    assert tokenizer.token_bytes[backend.token_to_id("  ")] == b"  "


def with_decoder(backend: Backend, decoder: Any) -> Backend:
    backend.decoder = decoder
    return backend


WORDS = {"<s>": 0, "</s>": 1, "a": 2, "##b": 3}
HIDDEN = {
    "word pieces": (lambda: Backend(models.WordPiece(WORDS, unk_token="<s>")), r"\(WordPiece\)"),
    "words": (lambda: Backend(models.WordLevel(WORDS, unk_token="<s>")), r"\(WordLevel\)"),
    "no decoder": (lambda: Backend(models.BPE(WORDS, [])), r"\(none\)"),
    "ends of words": (lambda: with_decoder(Backend(models.BPE(WORDS, [])), decoders.BPEDecoder()), r"\(BPEDecoder\)"),
    "strips each token": (
        lambda: with_decoder(llama_2(), decoders.Sequence([decoders.Strip(" ", 1, 0), decoders.Fuse()])),
        r"\(Strip and Fuse\)",
    ),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_tokenizers_that_hide_their_bytes_are_refused(kind: str) -> None:
    make, message = HIDDEN[kind]
    with pytest.raises(RootformError, match=rf"decoder {message} does not say which bytes"):
        bytes_of_tokens(make(), set())


# -- ranks ------------------------------------------------------------------------------------------------------------


def slow_tiktoken(tokens: list[bytes], word: bytes) -> list[int]:
    """tiktoken's own rule, literally: join the neighbours whose joined bytes rank lowest, while there are any."""
    rank = {token: i for i, token in enumerate(tokens)}
    parts = [bytes([byte]) for byte in word]
    while True:
        ranks = [(rank[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in rank]
        if not ranks:
            return [rank[part] for part in parts]
        _, at = min(ranks)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


RANKED = ranked(TEXTS, 60)
TEKKEN = tekken()


@given(
    words=st.lists(st.sampled_from(["the", "quick", "naïve", '"name":', "東京", "xyz", "foxfox"]) | st.text("thequ o"))
)
def test_ranked_tokens_are_joined_as_tiktoken_joins_them(words: list[str]) -> None:
    text = " ".join(words)
    pieces = [piece for piece, _ in pre_tokenizers.Split(SplitRegex(PATTERN), "isolated").pre_tokenize_str(text)]
    expected = [4 + token for piece in pieces for token in slow_tiktoken(RANKED, piece.encode())]
    assert TEKKEN.encode(text).ids == expected


def save_tekken(folder: Path, **config: Any) -> Path:
    tokens = RANKED
    vocab = [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for i, t in enumerate(tokens)]
    given = {"pattern": PATTERN, "default_vocab_size": len(tokens) + 10, "default_num_special_tokens": 10} | config
    (folder / "tekken.json").write_text(json.dumps({"config": given, "vocab": vocab}))
    return folder


def test_a_folder_with_tekken_alone_is_read(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(save_tekken(tmp_path))
    assert tokenizer.token_bytes == [b""] * 10 + RANKED
    assert tokenizer.eos_ids == {2}
    ids = tokenizer.encode("the café")
    assert ids[0] == 1
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == "the café".encode()


def test_what_is_no_tekken_is_named(tmp_path: Path) -> None:
    (tmp_path / "tekken.json").write_text("{}")
    with pytest.raises(RootformError, match=r"tekken\.json is not a tekken tokenizer: KeyError: 'config'"):
        read_tekken(tmp_path / "tekken.json")
    with pytest.raises(ValueError, match="b'abc' is not made up of two others"):
        ranked_tokenizer([*(bytes([byte]) for byte in range(256)), b"abc"], PATTERN, [])


# -- forced text --------------------------------------------------------------------------------------------------

FORCED = ["2140000", "0.007", "-12.50e3", "2031-05-17T08:00Z", "007", "Łódź, 東京 🙂", "Ελλάδα १२३", "the  café"]
FORCED_OF = dict.fromkeys(KINDS, FORCED) | {"unigram": ["2140000", "007", "20310517", "the 9"]}


@cache
def generations(kind: str) -> Generations:
    _, tokenizer, _ = loaded(kind)
    table = tokenizer.token_bytes
    return Generations(Vocabulary(table, tuple(tokenizer.eos_ids), len(table)))


def written(standins, kind: str, choices: tuple[str, ...], seed: int) -> tuple[str, tuple[int, ...], int]:
    """What a model of noise writes where it has these choices: text, tokens, passes."""
    _, tokenizer, _ = loaded(kind)
    table = tokenizer.token_bytes
    grammars = Grammars(GenerationBatch(generations(kind)), Speller(table, tokenizer.encode_inside))
    model = standins.StandIn(len(table), standins.ListMemory(400))
    stand = standins.Stand(model=model, token_bytes=table)
    stand.loop = StepLoop(model, table, frozenset(tokenizer.eos_ids), stand.limits, grammars=grammars)
    prompt = [random.Random(seed).randrange(3, len(table)) for _ in range(5)]
    key = stand.add(
        prompt, 80, generations(kind).compile(Choice(choices)), sampling=Sampling(temperature=1.0, seed=seed)
    )
    stand.run()
    assert isinstance(stand.end(key), Finished)
    stand.check_nothing_is_held()
    return stand.text(key), stand.ids(key), stand.end(key).usage.forward_passes


@pytest.mark.parametrize("kind", KINDS)
def test_forced_text_comes_out_whole_in_the_tokenizers_own_tokens(standins, kind: str) -> None:
    _, tokenizer, _ = loaded(kind)
    for seed, text in enumerate(FORCED_OF[kind]):
        said, ids, passes = written(standins, kind, (text,), seed)
        assert said == text
        own = tokenizer.encode_inside(text)
        if b"".join(tokenizer.token_bytes[token] for token in own) == text.encode() and len(own) > 1:
            assert ids[: len(own) - 1] == own[:-1]
            assert passes <= len(text.encode()) - len(b"".join(tokenizer.token_bytes[token] for token in own[:-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_where_text_is_forced_only_so_far_the_rest_stays_open(standins, kind: str) -> None:
    """2140000 or 21400001: none is cut short, and none is kept from coming by how the common part was spelled."""
    for text in FORCED_OF[kind]:
        choices = (text, text + "1", text + "12 the", text[:-1] + "99")
        said = {written(standins, kind, choices, seed)[0] for seed in range(10)}
        assert said <= set(choices)
        assert len(said) >= 2, (text, said)
