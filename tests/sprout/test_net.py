"""The network: equal to transformers' Llama, able to copy before it has learnt anything."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from rootform.sprout.evaluate import load
from rootform.sprout.export import export
from rootform.sprout.induction import plant
from rootform.sprout.net import Shape, Sprout
from rootform.sprout.optim import Average, orthogonalise

TINY = Shape(width=64, layers=2, heads=4, inner=96)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A tiny exported sprout with random weights."""
    model = Sprout(TINY)
    plant(model, torch.Generator().manual_seed(5))
    export(dict(model.state_dict()), TINY, tokenizer, tmp_path)
    return tmp_path


def test_logits_equal_those_of_transformers(folder: Path):
    from transformers import AutoModelForCausalLM

    ours, tokenizer = load(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("Ann Lee, +49 30 1234, Ann").ids])
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=2e-5, rtol=1e-4)


def test_the_exported_tokenizer_is_the_trained_one(folder: Path, tokenizer: Tokenizer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    text = 'Zoë paid 12.50 € {"shop":"Blå"} \n'
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.decode(tokenizer.encode(text).ids) == text
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == ("<|doc|>", "<|end|>", "<|pad|>")


def test_the_chat_template_takes_one_user_message(folder: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    user = {"role": "user", "content": "rain in Oslo?"}
    rendered = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    assert rendered == "<|doc|>rain in Oslo?<|json|>"
    for messages in ([user, user], [{"role": "system", "content": "be kind"}]):
        with pytest.raises(Exception, match="sprout reads one document"):
            tokenizer.apply_chat_template(messages, tokenize=False)


def test_a_planted_sprout_copies_without_training():
    shape = Shape()
    model = Sprout(shape)
    plant(model, torch.Generator().manual_seed(1))
    ids = torch.randperm(1500, generator=torch.Generator().manual_seed(2))[:12] + 300
    twice = torch.cat([ids, ids])[None]
    with torch.inference_mode():
        said = model(twice)[0].argmax(-1)
    assert (said[12:-1] == twice[0, 13:]).float().mean() > 0.7


def test_padding_to_the_right_changes_nothing():
    model = Sprout(TINY).eval()
    ids = torch.arange(10, 20)[None]
    longer = torch.cat([ids, torch.zeros(1, 5, dtype=torch.long)], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(model(longer)[:, :10], model(ids))


def test_orthogonalised_matrices_have_singular_values_near_one():
    matrices = torch.randn(2, 24, 40, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_the_average_follows_the_weights():
    model = Sprout(TINY)
    average = Average(model, decay=0.5)
    with torch.no_grad():
        model.norm.weight.fill_(3.0)
    for _ in range(60):
        average.update()
    torch.testing.assert_close(average.weights["norm.weight"], torch.full((64,), 3.0))
