"""The modules that a call crosses, traced while it runs.

The architecture page draws three flows. Its test traces them and compares. After a change of
the code, the failing test prints each drawing as it should be.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import async_downloads

__all__ = ["Flow", "crossed", "traced"]

PACKAGE: Final = Path(async_downloads.__file__).parent

#: Crossed by nearly everything, so that a drawing with them would say nothing.
EVERYWHERE: Final = frozenset({"settings", "utils.log", "logs"})


@dataclass(slots=True)
class Flow:
    """The modules of the package that a call crosses.

    Attributes:
        parents: The modules in the order in which they are entered first, each with the
            module that called it.
        calls: How often a module calls into another one, by both names.
    """

    parents: dict[str, str] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def modules(self) -> list[str]:
        """The modules in the order in which they are entered first."""
        return list(self.parents)

    @property
    def back_and_forth(self) -> set[tuple[str, str]]:
        """Pairs of modules that call each other."""
        return {pair for pair in self.calls if pair[::-1] in self.calls and pair[0] < pair[1]}

    def drawing(self) -> str:
        """Return the modules below each other, indented below the one that entered them first."""
        return "\n".join(f"{'  ' * depth}{module}" for depth, module in self._lines("", 0))

    def _lines(self, parent: str, depth: int) -> Iterator[tuple[int, str]]:
        for module, above in self.parents.items():
            if above == parent:
                yield depth, module
                yield from self._lines(module, depth + 1)


@contextmanager
def crossed() -> Iterator[Flow]:
    """Trace what runs inside, in this thread."""
    flow = Flow()
    #: By the code of a function, the module that it is in; empty for code of others.
    known: dict[Any, str] = {}

    def module_of(frame: FrameType | None) -> str:
        if frame is None:
            return ""
        code = frame.f_code
        if code not in known:
            known[code] = _module(code.co_filename, code.co_name)
        return known[code]

    def caller_of(frame: FrameType) -> str:
        above = frame.f_back
        while above is not None and not module_of(above):
            above = above.f_back
        return module_of(above)

    def trace(frame: FrameType, event: str, _: Any) -> None:
        module = module_of(frame) if event == "call" else ""
        if not module:
            return
        caller = caller_of(frame)
        if caller == module:
            return
        flow.calls[caller, module] = flow.calls.get((caller, module), 0) + 1
        flow.parents.setdefault(module, caller)

    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        yield flow
    finally:
        sys.setprofile(before)


def traced(call: Callable[[], object]) -> Flow:
    """Return what a call crosses that has been made once before, so that all is imported."""
    call()
    with crossed() as flow:
        call()
    return flow


def _module(filename: str, function: str) -> str:
    """Return the module of the package that code is in; empty if it is not of interest."""
    path = Path(filename)
    if function == "<module>" or not path.is_relative_to(PACKAGE):
        return ""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return "" if name in EVERYWHERE else name
