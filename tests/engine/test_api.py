"""The engine's front with a stand-in model and the real grammars: threads, asyncio, refusals, cancelling, closing."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import torch
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rootform.engine import resolve
from rootform.engine.accept import make_call
from rootform.engine.api import Engine
from rootform.engine.loading import read_notes
from rootform.engine.tokenizer import Tokenizer
from rootform.engine.types import Call, Message, Regex, RootformError, Sampling
from rootform.grammar import compile as grammar_compile
from rootform.grammar.work import tick

TEMPLATE = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}"
EOS = 0
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def one_token_per_byte() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE({"</s>": EOS} | {letter: n for n, letter in enumerate(letters, start=1)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", chat_template=TEMPLATE)


WRAPPED = one_token_per_byte()
TOKENIZER = Tokenizer(WRAPPED)
N_TOKENS = len(TOKENIZER.token_bytes)


def token(char: str) -> int:
    (only,) = TOKENIZER.encode_bare(char)
    return only


@pytest.fixture
def make(standins, device):
    """Engines around a stand-in model; closed, and checked to hold nothing, when the test ends."""
    made = []

    def make_engine(likes=None, n_pages=4000, **options):
        model = standins.StandIn(N_TOKENS, standins.ListMemory(n_pages), context_tokens=1000, there=device.there)
        model.likes = likes
        engine = Engine.from_parts(model, TOKENIZER, name="stand-in", **device.ways | options)
        made.append((engine, model))
        return engine

    yield make_engine
    for engine, model in made:
        engine.close()
        tree = engine._loop.prefixes.tree
        assert (model.memory.slots, tree.locked_pages) == ({}, 0)
        assert model.memory.free_pages + tree.cached_pages == model.memory.total_pages


def likes_text(text: str):
    """A model that writes this text, wherever it stands, and then ends."""
    ids = [*TOKENIZER.encode_bare(text), EOS]
    start = {}

    def likes(so_far):
        n_prompt = start.setdefault("n", len(so_far))
        return ids[min(len(so_far) - n_prompt, len(ids) - 1)]

    return likes


class Gate:
    """Holds the step thread inside a forward pass until opened."""

    def __init__(self, engine: Engine) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        forward = engine._loop.model.forward

        def gated(*batch):
            self.entered.set()
            assert self.opened.wait(120)
            return forward(*batch)

        engine._loop.model.forward = gated


# -- generating ---------------------------------------------------------------------------------------------------


def test_text_ids_chats_and_lists_of_them(make):
    engine = make(likes=likes_text("héllo"))
    text = engine.generate("u:hi\n")
    assert (text.text, text.finish_reason, len(text.token_ids)) == ("héllo", "stop", 6)
    assert engine.generate(list(TOKENIZER.encode("u:hi\n"))).text == "héllo"
    assert engine.generate([Message("user", "hi")]).text == "héllo"
    assert engine.generate([{"role": "user", "content": "hi"}]).text == "héllo"
    assert [each.text for each in engine.generate(["u:hi\n", "u:hi\n"], max_tokens=2)] == ["hé"[:1] + "\ufffd"] * 2
    assert engine.generate([]) == []


def test_deltas_joined_are_the_completion(make):
    engine = make(likes=likes_text("a é 👍 z"))
    job = engine.submit(Call(prompt="x", top_logprobs=0))
    deltas = list(job)
    completion = job.result()
    assert "".join(delta.text for delta in deltas) == completion.text == "a é 👍 z"
    assert [delta.text for delta in deltas] == list("a é 👍 z")
    assert tuple(i for delta in deltas for i in delta.token_ids) == completion.token_ids
    assert b"".join(each.text for each in completion.logprobs) == completion.text.encode()


def test_asyncio_generates_and_streams(make):
    engine = make(likes=likes_text("hello"))

    async def main():
        both = await engine.agenerate(["x", "y"], max_tokens=3)
        streamed = [delta.text async for delta in engine.submit(Call(prompt="x"))]
        return [each.text for each in both], "".join(streamed)

    assert asyncio.run(main()) == (["hel", "hel"], "hello")


def test_many_threads_submit_at_once(make):
    engine = make(max_batch=7)
    prompts = [f"document {n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda prompt: engine.generate(prompt, max_tokens=6, ignore_eos=True), prompts))
    assert [each.text for each in together] == [
        engine.generate(prompt, max_tokens=6, ignore_eos=True).text for prompt in prompts
    ]
    assert engine.stats().requests_finished == 80


def test_stats_and_snapshot_tell_what_happened(make):
    engine = make()
    engine.generate("abcdefgh", max_tokens=5, ignore_eos=True)
    engine.generate("abcdefgh", max_tokens=5, ignore_eos=True)
    snapshot = engine.cache_snapshot()  # waits for the thread, so the statistics are those of the end
    stats = engine.stats()
    assert (stats.prefill_tokens, stats.cached_tokens, stats.output_tokens) == (8 + 1, 7, 10)
    assert (stats.running, stats.waiting, stats.requests_finished) == (0, 0, 2)
    assert snapshot.cached_pages == stats.pages_cached == 12
    assert stats.pages_free + stats.pages_cached == stats.pages_total
    engine.clear_cache()
    assert engine.cache_snapshot().nodes == ()


# -- constraints --------------------------------------------------------------------------------------------------


def test_output_is_valid_at_every_limit_even_if_the_model_never_ends(make):
    engine = make(likes=lambda ids: token("1") if ids[-1] in (token("["), token("1")) else token("x"))
    shortest = len('{"name":"","tags":[]}')
    for max_tokens in range(shortest, shortest + 12):
        completion = engine.generate("x", schema=SCHEMA, max_tokens=max_tokens, top_logprobs=max_tokens % 2)
        value = json.loads(completion.text)
        assert value.keys() == {"name", "tags"}
        assert (completion.finish_reason, completion.closed_early) == ("length", True)
        assert len(completion.token_ids) <= max_tokens
        assert len(completion.logprobs) == len(completion.token_ids)
        assert value["name"] == "x" * (max_tokens - shortest)


def test_sampled_output_is_valid_and_the_same_in_any_company(make):
    engine = make()
    options = {"schema": SCHEMA, "temperature": 1.5, "max_tokens": 60}
    alone = [engine.generate("x", seed=seed, **options).text for seed in range(6)]
    jobs = [
        engine.submit(call)
        for seed in range(6)
        for call in (
            Call(prompt="stranger", max_tokens=30, sampling=Sampling(temperature=1.0, seed=seed)),
            Call(
                prompt="x",
                max_tokens=60,
                sampling=Sampling(temperature=1.5, seed=seed),
                constraint=make_call("x", schema=SCHEMA).constraint,
            ),
        )
    ]
    assert [job.result().text for job in jobs[1::2]] == alone
    assert len(set(alone)) == 6
    for text in alone:
        assert json.loads(text).keys() == {"name", "tags"}


def test_forced_tokens_cost_no_passes(make):
    engine = make(likes=likes_text("l"))
    decided = engine.generate("x", choice=["only this"], top_logprobs=0)
    assert (decided.text, decided.finish_reason, decided.usage.forward_passes) == ("only this", "stop", 0)
    assert [each.logprob for each in decided.logprobs] == [0.0] * 9
    halves = engine.generate("x", choice=["start left now", "start right now"])
    in_vain = engine.stats().void_rows
    assert (halves.text, halves.usage.forward_passes - in_vain) == ("start left now", 1)


def test_a_complete_value_ends_without_another_pass_and_a_number_may_go_on(make):
    engine = make(likes=likes_text("777"), drafts=False)
    done = engine.generate("x", regex="[0-9]{2}")
    in_vain = engine.stats().void_rows  # of passes that were queued before it was known
    assert done.usage.forward_passes - in_vain == 2
    number = engine.generate("x", schema={"type": "integer"})
    in_vain = engine.stats().void_rows - in_vain
    assert (number.text, number.usage.forward_passes - in_vain) == ("777", 4)  # the last pass chose to end


def test_stop_strings_cut_constrained_output_too(make):
    engine = make(likes=likes_text("abcabc"))
    completion = engine.generate("x", regex="[a-c]{1,20}", stop="ca")
    assert (completion.text, completion.matched_stop, completion.finish_reason) == ("ab", "ca", "stop")


def test_a_refused_constraint_fails_alone_and_says_why(make):
    engine = make(likes=likes_text("ok"))
    bad = engine.submit(Call(prompt="x", constraint=Regex("(a)\\1")))
    good = engine.submit(Call(prompt="x"))
    assert good.result().text == "ok"
    with pytest.raises(RootformError, match="back-references") as caught:
        bad.result()
    assert (caught.value.status, caught.value.param) == (400, "constraint")
    with pytest.raises(RootformError, match="shortest value takes 4 tokens, but max_tokens is 3"):
        engine.generate("x", regex="a{4}", max_tokens=3)
    assert engine.stats().requests_failed == 2


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("x" * 2000, {}, "the prompt has 2000 tokens, but prompt and output together may have 1000"),
        ("x" * 990, {"max_tokens": 11}, "990 tokens and max_tokens is 11, together 1001"),
        ("", {}, "the prompt has no tokens"),
        ([5, 99999], {}, "token id 99999 in the prompt"),
        ("x", {"max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
        ("x", {"temperature": -1.0}, "temperature is -1.0"),
        ("x", {"temperature": float("nan")}, "temperature is nan"),
        ("x", {"top_p": 0.0}, "top_p is 0.0; it must be above 0"),
        ("x", {"top_k": -1}, "top_k is -1"),
        ("x", {"min_p": 1.5}, "min_p is 1.5"),
        ("x", {"seed": -1}, "seed is -1"),
        ("x", {"stop": [""]}, "a stop string is empty"),
        ("x", {"top_logprobs": -1}, "top_logprobs is -1"),
        ("x", {"regex": "a", "choice": ["a"]}, "give only one of regex and choice"),
        ("x", {"regex": "a", "ignore_eos": True}, "ignore_eos cannot be had with a constraint"),
        ("x", {"regex": "a", "spacing": "flexible"}, "spacing is about JSON"),
        ("x", {"continue_final": True}, "continue_final is about `messages`"),
        ([{"role": "user"}], {}, "missing required field `content`"),
    ],
)
def test_bad_calls_are_refused_at_once(make, prompt, options, message):
    with pytest.raises(RootformError, match=re.escape(message)) as caught:
        make().generate(prompt, **options)
    assert caught.value.status == 400


def test_options_there_are_not_are_refused(make):
    with pytest.raises(TypeError, match="max_token"):
        make().generate("x", max_token=3)


# -- cancelling, failing, closing -----------------------------------------------------------------------------------


def test_cancel_while_running_and_while_waiting(make):
    engine = make(max_batch=1)
    gate = Gate(engine)
    running = engine.submit(Call(prompt="a", max_tokens=500, ignore_eos=True))
    assert gate.entered.wait(120)
    waiting = engine.submit(Call(prompt="b", max_tokens=5))
    running.cancel()
    waiting.cancel()
    gate.opened.set()
    for job in (running, waiting):
        with pytest.raises(CancelledError):
            job.result(120)
    assert engine.generate("c", max_tokens=3, ignore_eos=True).usage.completion_tokens == 3
    engine.cache_snapshot()
    assert (engine.stats().requests_cancelled, engine.stats().requests_finished) == (2, 1)


def test_cancel_while_the_constraint_is_compiled(make, monkeypatch):
    engine = make()
    compiling, go_on = threading.Event(), threading.Event()
    compile_now = engine._generations.compile

    def slow(*arguments, **options):
        compiling.set()
        assert go_on.wait(120)
        return compile_now(*arguments, **options)

    monkeypatch.setattr(engine._generations, "compile", slow)
    job = engine.submit(Call(prompt="x", constraint=Regex("[ab]{3}")))
    assert compiling.wait(120)
    assert len(engine.generate("meanwhile", max_tokens=4, ignore_eos=True).token_ids) == 4
    job.cancel()
    with pytest.raises(CancelledError):
        job.result(120)
    go_on.set()
    assert re.fullmatch("[ab]{3}", engine.generate("x", regex="[ab]{3}").text)


def test_cancelling_the_awaiting_task_cancels_the_call(make):
    engine = make()
    gate = Gate(engine)

    async def main():
        task = asyncio.create_task(engine.agenerate("x", max_tokens=900, ignore_eos=True))
        await asyncio.to_thread(gate.entered.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    engine.generate("c", max_tokens=3, ignore_eos=True)  # by whose end a step has seen that the other is cancelled
    engine.cache_snapshot()
    assert engine.stats().requests_cancelled == 1


def test_cancelling_a_task_that_is_still_submitting_cancels_the_call(make, monkeypatch):
    """The thread that submits goes on when nobody waits for it any more."""
    engine = make()
    submitted, seen = threading.Event(), threading.Event()
    submit = engine.submit

    def slow(call):
        job = submit(call)
        submitted.set()
        assert seen.wait(120)  # the task is cancelled before it hears of the job
        return job

    async def main():
        task = asyncio.create_task(engine.agenerate("x", max_tokens=900, ignore_eos=True))
        assert await asyncio.to_thread(submitted.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen.set()

    monkeypatch.setattr(engine, "submit", slow)
    gate = Gate(engine)
    asyncio.run(main())  # whose end waits for its threads
    gate.opened.set()
    monkeypatch.undo()
    engine.generate("c", max_tokens=3, ignore_eos=True)
    assert (engine.stats().requests_cancelled, engine.stats().requests_finished) == (1, 1)


def test_who_sees_an_end_finds_it_counted(make, monkeypatch):
    """However slowly the thread counts."""
    engine = make()
    note = engine._thread._on_step

    def slowly(n_compiling):
        threading.Event().wait(0.02)
        note(n_compiling)

    monkeypatch.setattr(engine._thread, "_on_step", slowly)
    for n in range(1, 4):
        engine.generate("x", max_tokens=2, ignore_eos=True)
        assert (engine.stats().requests_finished, engine.stats().output_tokens) == (n, 2 * n)
        with pytest.raises(RootformError):
            engine.generate("x", regex="(a)\\1")
        assert engine.stats().requests_failed == n


def test_cancel_after_the_end_changes_nothing(make):
    job = (engine := make(likes=likes_text("hi"))).submit(Call(prompt="x"))
    assert job.result().text == "hi"
    job.cancel()
    engine.cache_snapshot()
    assert job.result().text == "hi"
    assert engine.stats().requests_cancelled == 0


def test_a_failing_pass_fails_its_calls_and_the_engine_goes_on(make):
    engine = make()
    engine._loop.model.fail_on = token("!")
    with pytest.raises(RootformError, match="RuntimeError: the stand-in was told to fail") as caught:
        engine.generate("a!", max_tokens=3)
    assert caught.value.status == 500
    assert len(engine.generate("a", max_tokens=3, ignore_eos=True).token_ids) == 3


def test_close_cancels_what_runs_and_refuses_what_comes(make):
    engine = make()
    gate = Gate(engine)
    job = engine.submit(Call(prompt="a", max_tokens=900, ignore_eos=True))
    assert gate.entered.wait(120)
    closer = threading.Thread(target=engine.close)
    closer.start()
    gate.opened.set()
    closer.join(120)
    with pytest.raises(CancelledError):
        job.result(120)
    with pytest.raises(RootformError, match="was closed") as caught:
        engine.submit(Call(prompt="a"))
    assert caught.value.status == 503
    engine.close()


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


# -- around the model -----------------------------------------------------------------------------------------------


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


def test_limits_say_what_they_are_and_refuse_what_cannot_be(make):
    engine = make(max_batch=3, max_context=100)
    assert engine.info.context_tokens == 100
    assert engine.limits.describe().startswith("batch: up to 3 sequences and 1024 prompt tokens in one pass\n")
    with pytest.raises(RootformError, match="max_batch is 0"):
        make(max_batch=0)
    with pytest.raises(RootformError, match="the model was made for 1000"):
        make(max_context=2000)


def test_ids_beyond_the_tokenizer_show_nothing_and_are_never_allowed(standins, device):
    model = standins.StandIn(N_TOKENS + 40, there=device.there)
    model.likes = lambda ids: N_TOKENS + 5
    with Engine.from_parts(model, TOKENIZER, **device.ways) as engine:
        assert engine.generate("x", max_tokens=3).text == ""
        assert set(engine.generate("x", regex="[ab]{5}").text) <= set("ab")


def test_a_hostile_constraint_fails_alone_while_others_are_served(make, monkeypatch):
    """What takes too long to compile fails its own request, and one that came later is done before."""
    begun, go_on = threading.Event(), threading.Event()
    compile_pattern = grammar_compile.compile_pattern

    def endless(pattern, **options):
        while pattern == "hostile":
            begun.set()
            if go_on.wait(0.01):
                tick()
        return compile_pattern(pattern, **options)

    monkeypatch.setattr(grammar_compile, "compile_pattern", endless)
    engine = make(likes=likes_text("777"), compile_seconds=0.1)
    bad = engine.submit(Call(prompt="x", constraint=Regex("hostile")))
    assert begun.wait(120)
    assert engine.generate("y", regex="[67]{3}").text == "777"
    assert not bad.future.done()
    go_on.set()
    with pytest.raises(RootformError, match=r"takes more than 0\.1 s of work") as caught:
        bad.result(120)
    assert (caught.value.status, caught.value.param) == (400, "constraint")
    assert engine.generate("z", regex="[67]{2}").text == "77"
    stats = engine.stats()
    assert (stats.requests_failed, stats.grammar_generations) == (1, 1)
    assert stats.grammar_bytes > 0


def test_many_constraints_take_no_more_memory_than_they_may(make, monkeypatch):
    """Generations come and go under running requests; every output is what its own constraint asks for."""
    monkeypatch.setattr("rootform.engine.compiling.LEAST_BYTES", 0)
    engine = make(likes=likes_text("7" * 200), grammar_bytes=8 << 20)
    texts = [f"{n}7+" for n in range(120)]
    serials = set()
    for start in range(0, len(texts), 8):
        batch = texts[start : start + 8]
        jobs = [engine.submit(make_call("x", regex=text + "z?", max_tokens=12)) for text in batch]
        jobs.append(engine.submit(make_call("y", schema={**SCHEMA, "title": f"{start:0300000}"}, max_tokens=60)))
        for text, job in zip(batch, jobs, strict=False):
            assert re.fullmatch(text + "z?", job.result(60).text)
        assert json.loads(jobs[-1].result(60).text).keys() == {"name", "tags"}
        stats = engine.stats()
        assert stats.grammar_generations <= 3
        assert stats.grammar_bytes < 16 << 20
        serials.add(engine._generations.current.serial)
    assert len(serials) > 2, "the bound was never met"
