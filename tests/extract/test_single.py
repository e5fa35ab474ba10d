"""One document, printed while it streams."""

import pytest

from rootform.engine.types import ModelInfo, RootformError
from rootform.extract.asking import Asker, Options
from rootform.extract.single import extract_one


def asker(context_tokens: int = 1000) -> Asker:
    info = ModelInfo(name="m", context_tokens=context_tokens, has_chat_template=True, extract_prompt="{document}")
    return Asker.make(info, "{}", Options())


def test_lines_are_written_as_they_are_complete(scripted) -> None:
    written: list[str] = []
    client = scripted(lambda prompt: '{"a":1,"b":"' + prompt + '"}')
    completion = extract_one(client, asker(), "hello", written.append)
    assert written == ["{\n", '  "a": 1,\n', '  "b": "hello"\n', "}\n"]
    assert completion.text == '{"a":1,"b":"hello"}'


def test_a_long_document_gets_the_room_that_is_left(scripted) -> None:
    client = scripted(lambda prompt: "1", context_tokens=100)
    extract_one(client, asker(100), "x" * 80, lambda text: None)
    assert [call.max_tokens for call in client.calls] == [50, None]


def test_a_document_that_does_not_fit_is_refused(scripted) -> None:
    written: list[str] = []
    with pytest.raises(RootformError, match="the prompt has 200 tokens"):
        extract_one(scripted(lambda prompt: "1", context_tokens=100), asker(100), "x" * 200, written.append)
    assert written == []
