"""Calls in flight: bounded, read lazily, cancelled when nobody waits for them any more."""

import threading
from collections.abc import Iterator

import pytest

from rootform.engine.job import Job
from rootform.engine.types import Call, ModelInfo, RootformError
from rootform.extract.flight import fly
from rootform.extract.order import in_windows


class Held:
    """Jobs that end when the test says so."""

    info = ModelInfo(name="held", context_tokens=100, has_chat_template=True)

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.cancelled: list[int] = []

    def submit(self, call: Call) -> Job:
        if call.prompt == "refused":
            raise RootformError("no")
        place = len(self.jobs)
        self.jobs.append(Job(lambda: self.cancelled.append(place)))
        return self.jobs[-1]

    def close(self) -> None:
        pass


def calls(count: int, read: list[int]) -> Iterator[tuple[int, Call]]:
    for number in range(count):
        read.append(number)
        yield number, Call(prompt=str(number))


def test_no_more_is_read_than_there_is_room_for() -> None:
    client, read = Held(), []
    flight = fly(client, calls(10, read), 3)
    threading.Timer(0.01, lambda: client.jobs[1].fail(ValueError("first"))).start()
    key, error = next(flight)
    assert (key, str(error), read) == (1, "first", [0, 1, 2])
    client.jobs[0].fail(ValueError("second"))
    assert next(flight)[0] == 0
    assert read == [0, 1, 2, 3]
    flight.close()
    assert sorted(client.cancelled) == [2, 3]


def test_an_error_in_what_is_read_cancels_what_runs() -> None:
    def broken() -> Iterator[tuple[int, Call]]:
        yield 0, Call(prompt="0")
        raise OSError("gone")

    client = Held()
    with pytest.raises(OSError, match="gone"):
        next(fly(client, broken(), 3))
    assert client.cancelled == [0]


def test_what_is_refused_at_once_ends_like_any_other() -> None:
    landed = list(fly(Held(), [(n, Call(prompt="refused")) for n in range(50)], 2))
    assert [key for key, _ in landed] == list(range(50))
    assert all(isinstance(error, RootformError) for _, error in landed)


def test_windows_sort_inside_and_keep_what_is_outside() -> None:
    assert list(in_windows([3, 1, 2, 9, 8, 0], key=lambda n: n, size=4)) == [1, 2, 3, 9, 0, 8]
    read: list[int] = []
    windows = in_windows((read.append(n) or n for n in range(10)), key=lambda n: -n, size=3)
    assert next(windows) == 2
    assert read == [0, 1, 2]
