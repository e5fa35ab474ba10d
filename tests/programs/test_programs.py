"""Programs against a scripted client: what is asked, in which order, and what comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from typing import Any

import msgspec
import pydantic
import pytest

from rootform import assistant, gen, program, select, system, user
from rootform.engine.types import Choice, JsonSchema, Message, Regex, RootformError
from rootform.programs import StreamEvent, join
from rootform.programs.typed import typed_json


class Person(msgspec.Struct):
    name: str
    age: int


@dataclasses.dataclass
class Place:
    city: str
    people: list[Person] = dataclasses.field(default_factory=list)


class Order(pydantic.BaseModel):
    item: str
    quantity: int


@program
def interview(s: Any, topic: str) -> str:
    s += system("You are brief.")
    s += user(f"Tell me about {topic}.")
    s += assistant("Well, " + gen("first", stop=".") + ". And " + gen("second", max_tokens=5))
    return f"about {topic}"


def test_a_turn_of_text_and_generations_continues_the_assistant(scripted: Any) -> None:
    client = scripted(lambda call: "snow" if not call.max_tokens else "ice")
    run = interview.run(client, "winter")
    assert run.value == "about winter"
    assert run.values() == {"first": "snow", "second": "ice"}
    first, second = client.calls
    opening = (Message("system", "You are brief."), Message("user", "Tell me about winter."))
    assert first.messages == (*opening, Message("assistant", "Well, "))
    assert first.continue_final
    assert first.stop == (".",)
    assert second.messages == (*opening, Message("assistant", "Well, snow. And "))
    assert second.max_tokens == 5
    assert run.state.messages()[-1] == Message("assistant", "Well, snow. And ice")
    assert run.text() == "You are brief.Tell me about winter.Well, snow. And ice"


def test_a_generation_that_opens_the_turn_is_asked_as_an_answer(scripted: Any) -> None:
    @program
    def ask(s: Any) -> None:
        s += user("Q")
        s += assistant(gen("a"))

    client = scripted(lambda call: "A")
    ask.run(client)
    assert client.calls[0].messages == (Message("user", "Q"),)
    assert not client.calls[0].continue_final


def test_without_roles_the_text_is_one_raw_prompt(scripted: Any) -> None:
    @program
    def raw(s: Any) -> None:
        s += "Q: 1+1\nA:" + gen("a", regex=r" \d") + "\nQ: 2+2\nA:"
        s += gen("b")

    client = scripted(lambda call: " 2" if call.constraint else " 4")
    run = raw.run(client)
    assert [call.prompt for call in client.calls] == ["Q: 1+1\nA:", "Q: 1+1\nA: 2\nQ: 2+2\nA:"]
    assert client.calls[0].constraint == Regex(r" \d")
    assert run.text() == "Q: 1+1\nA: 2\nQ: 2+2\nA: 4"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (Person, '{"name":"Ann","age":3}', Person("Ann", 3)),
        (Place, '{"city":"Rome","people":[{"name":"Bo","age":4}]}', Place("Rome", [Person("Bo", 4)])),
        (Order, '{"item":"tea","quantity":2}', Order(item="tea", quantity=2)),
        ({"type": "array"}, "[1,2]", [1, 2]),
        ('{"type":"integer"}', "7", 7),
        (list[int], "[3]", [3]),
    ],
)
def test_schema_values_come_back_typed(scripted: Any, schema: Any, text: str, value: Any) -> None:
    @program
    def typed(s: Any) -> Any:
        s += user("x")
        s += assistant(gen("v", schema=schema))
        return s["v"]

    client = scripted(lambda call: text)
    assert typed.run(client).value == value
    assert isinstance(client.calls[0].constraint, JsonSchema)


def test_objects_of_types_are_closed_and_data_in_them_is_left_alone() -> None:
    schema = json.loads(typed_json(Place).schema)
    assert all(definition["additionalProperties"] is False for definition in schema["$defs"].values())

    class Odd(msgspec.Struct):
        field: dict[str, int] = msgspec.field(default_factory=lambda: {"properties": 1})

    assert json.loads(typed_json(Odd).schema)["$defs"]["Odd"]["properties"]["field"]["additionalProperties"] == {
        "type": "integer"
    }


def test_select_is_a_choice_with_its_logprobs_kept(scripted: Any) -> None:
    @program
    def pick(s: Any) -> str:
        s += user("colour?")
        s += assistant(select("colour", ["red", "blue"]))
        return s["colour"]

    client = scripted(lambda call: "blue")
    assert pick.run(client).value == "blue"
    assert client.calls[0].constraint == Choice(("red", "blue"))
    assert client.calls[0].top_logprobs == 0


def test_forks_run_side_by_side_and_join_in_order(scripted: Any) -> None:
    together = threading.Barrier(3)

    def script(call: Any) -> str:
        together.wait(timeout=20)  # passes only when all three forks are under way at once
        return call.messages[-1].content.upper()

    @program
    def tips(s: Any) -> dict[str, list[str]]:
        s += user("base")
        s += assistant("ok")
        forks = s.fork(3)
        for fork, word in zip(forks, ("a", "b", "c"), strict=True):
            fork += user(word)
            fork += assistant(gen("tip"))
        return join(forks)

    client = scripted(script)
    assert tips.run(client).value == {"tip": ["A", "B", "C"]}
    assert all(call.messages[:2] == (Message("user", "base"), Message("assistant", "ok")) for call in client.calls)


def test_a_fork_sees_its_parents_pending_values(scripted: Any) -> None:
    @program
    def nested(s: Any) -> tuple[str, str]:
        s += "x" + gen("parent")
        (child,) = s.fork(1)
        child += gen("child")
        return child["parent"], child.text()

    client = scripted(lambda call: "p" if call.prompt == "x" else "c")
    assert nested.run(client).value == ("p", "xpc")


def test_a_failure_reaches_readers_of_the_state_and_of_its_forks(scripted: Any) -> None:
    def script(call: Any) -> str:
        raise RootformError("no pages left")

    @program
    def failing(s: Any) -> list[str]:
        s += "x" + gen("a")
        (child,) = s.fork(1)
        child += gen("b")
        messages = []
        for reading in (lambda: s["a"], lambda: child["b"], child.wait):
            try:
                reading()
            except RootformError as error:
                messages.append(str(error))
        return messages

    with pytest.raises(RootformError, match="no pages left"):
        failing.run(scripted(script))
    messages: list[str] = []

    @program
    def tolerant(s: Any) -> None:
        messages.extend(failing(s))

    with pytest.raises(RootformError):
        tolerant.run(scripted(script))
    assert messages == ["no pages left"] * 3


def test_map_keeps_row_order_and_can_keep_errors(scripted: Any) -> None:
    def script(call: Any) -> str:
        if "2" in call.prompt:
            raise RootformError("bad row")
        return call.prompt[::-1]

    @program
    def echo(s: Any, word: str) -> str:
        s += word + gen("r")
        return s["r"]

    rows = [{"word": f"w{n}"} for n in range(6)]
    results = echo.map(scripted(script), rows, concurrency=3, keep_errors=True)
    assert [getattr(r, "value", str(r)) for r in results] == ["0w", "1w", "bad row", "3w", "4w", "5w"]
    with pytest.raises(RootformError, match="bad row") as caught:
        echo.map(scripted(script), rows, concurrency=2)
    assert caught.value.__notes__ == ["in gen('r')", "in echo.map(), row 2"]


def test_a_program_is_part_of_another(scripted: Any) -> None:
    @program
    def name(s: Any, question: str) -> str:
        s += user(question)
        s += assistant(gen("name"))
        return s["name"]

    @program
    def greeting(s: Any) -> str:
        who = name(s, question="Who?")
        s += user(f"Greet {who}.")
        s += assistant(gen("greeting"))
        return s["greeting"]

    client = scripted(lambda call: "Ann" if len(call.messages) == 1 else "Hello Ann")
    run = greeting.run(client)
    assert (run.value, run.values()) == ("Hello Ann", {"name": "Ann", "greeting": "Hello Ann"})
    assert [message.content for message in client.calls[1].messages] == ["Who?", "Ann", "Greet Ann."]
    with pytest.raises(TypeError, match=r"use name\.run\(client, \.\.\.\)"):
        name(client, question="Who?")


def test_map_draws_progress_on_stderr_only_when_asked(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @program
    def echo(s: Any, word: str) -> None:
        s += word + gen("r")

    echo.map(scripted(lambda call: "x"), [{"word": "a"}])
    assert capsys.readouterr() == ("", "")
    echo.map(scripted(lambda call: "x"), [{"word": "a"}], progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1/1" in captured.err


def test_stream_gives_every_text_in_order_and_the_run_at_the_end(scripted: Any) -> None:
    stream = interview.stream(scripted(lambda call: "ab" if not call.max_tokens else "cd"), "x")
    events = []
    while True:
        try:
            events.append(next(stream))
        except StopIteration as stop:
            run = stop.value
            break
    assert events == [StreamEvent("first", "a"), ("first", "b"), ("second", "c"), ("second", "d")]
    assert run["second"] == "cd"


def test_stream_raises_what_the_run_raised(scripted: Any) -> None:
    def script(call: Any) -> str:
        raise RootformError("gone")

    with pytest.raises(RootformError, match="gone"):
        list(interview.stream(scripted(script), "x"))


def test_async_twins(scripted: Any) -> None:
    client = scripted(lambda call: "z")

    async def both() -> tuple[Any, Any]:
        return await asyncio.gather(interview.arun(client, "a"), interview.amap(client, [{"topic": "b"}]))

    one, many = asyncio.run(both())
    assert one["first"] == many[0]["first"] == "z"


def test_usage_adds_up_and_forks_count_their_own(scripted: Any) -> None:
    @program
    def two(s: Any) -> tuple[int, int]:
        s += "x" + gen("a")
        (child,) = s.fork(1)
        child += gen("b")
        return s.usage().completion_tokens, child.usage().completion_tokens

    assert two.run(scripted(lambda call: "1234" if call.prompt == "x" else "12")).value == (4, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda s: s.__iadd__(user("u" + gen("x"))).wait(), "only assistants write"),
        (lambda s: s.__iadd__(user("u")).__iadd__("loose").wait(), "needs a role"),
        (lambda s: s.__iadd__("raw").__iadd__(user("u")).wait(), "cannot begin inside raw text"),
        (lambda s: s.__iadd__("r" + gen("x")).__iadd__(gen("x")), "taken"),
        (lambda s: s.fork(0), "at least one"),
        (lambda s: gen("x", regex="a", choices=["b"]), "one of"),
        (lambda s: gen("x", schema=object()), "no JSON Schema"),
    ],
)
def test_mistakes_are_told(scripted: Any, body: Any, message: str) -> None:
    with pytest.raises(RootformError, match=message):
        program(body).run(scripted(lambda call: "ok"))


def test_unknown_names_and_wrong_parts_are_told(scripted: Any) -> None:
    with pytest.raises(KeyError, match="names: none yet"):
        program(lambda s: s["nothing"]).run(scripted(lambda call: ""))
    with pytest.raises(TypeError, match=r"gen\(\) got an unexpected keyword argument 'colour'"):
        gen("x", colour="red")
    with pytest.raises(TypeError, match="int"):
        program(lambda s: s.__iadd__(3)).run(scripted(lambda call: ""))


def test_turn_as_a_context(scripted: Any) -> None:
    @program
    def built(s: Any) -> None:
        with s.turn("user"):
            s += "a"
            s += "b"
        with s.turn("assistant"):
            s += gen("x")

    client = scripted(lambda call: "y")
    run = built.run(client)
    assert client.calls[0].messages == (Message("user", "ab"),)
    assert run.state.messages()[1] == Message("assistant", "y")
