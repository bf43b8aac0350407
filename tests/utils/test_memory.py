"""What a process remembers does not grow without end."""

from async_downloads.utils.memory import Memory


def test_it_begins_anew_when_it_is_full() -> None:
    memory: Memory[str, int] = Memory(2)
    memory["first"] = 1
    memory["second"] = 2
    memory["first"] = 3
    assert memory == {"first": 3, "second": 2}
    memory["third"] = 4
    assert memory == {"third": 4}
