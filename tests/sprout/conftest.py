"""Shared by the sprout's tests: a tokenizer learnt from generated documents, and where SNIPS may be."""

import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from rootform.sprout.train import build_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return build_tokenizer(None, seed=3, documents=1500)


@pytest.fixture(scope="session")
def snips() -> Path:
    """A folder with train.jsonl.gz and dev.jsonl.gz; ROOTFORM_SNIPS names it, else it may lie beside the checkout."""
    folder = Path(os.environ.get("ROOTFORM_SNIPS", ROOT.parent / "shared" / "snips"))
    if not (folder / "train.jsonl.gz").is_file():
        pytest.skip("no SNIPS files; set ROOTFORM_SNIPS to a folder with train.jsonl.gz")
    return folder
