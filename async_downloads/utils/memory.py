"""What a process remembers of earlier requests, so that it need not be found out again."""

from typing import TypeVar

__all__ = ["Memory"]

K = TypeVar("K")
V = TypeVar("V")


class Memory(dict[K, V]):
    """A dictionary that begins anew when it is full.

    Attributes:
        most: The number of keys at which it is full.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self.most and key not in self:
            self.clear()
        super().__setitem__(key, value)
