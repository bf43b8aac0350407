"""The modules of the package that a call crosses, traced while it runs.

The architecture page draws four flows, and its test compares them with what is traced. After
a change of the code, the failing test prints each drawing as it has to be.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import async_downloads

__all__ = ["Flow", "traced"]

PACKAGE: Final = Path(async_downloads.__file__).parent

#: Crossed by nearly every flow, so that a drawing with them would say less.
EVERYWHERE: Final = frozenset({"settings", "utils.log"})


@dataclass(slots=True)
class Flow:
    """The modules that a call crosses.

    Attributes:
        parents: The modules in the order in which they are entered first, each with the
            module that enters it first.
    """

    parents: dict[str, str] = field(default_factory=dict)
    _modules: dict[CodeType, str] = field(default_factory=dict)

    @property
    def modules(self) -> list[str]:
        """The modules in the order in which they are entered first."""
        return list(self.parents)

    def drawing(self) -> str:
        """Return the modules, each indented below the one that enters it first."""
        return "\n".join(f"{'  ' * depth}{module}" for depth, module in self._lines("", 0))

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call of Python; a function for ``sys.setprofile``."""
        module = self._module_of(frame) if event == "call" else ""
        caller = self._caller_of(frame) if module else ""
        if module and caller != module:
            self.parents.setdefault(module, caller)

    def _caller_of(self, frame: FrameType) -> str:
        """Return the module of the package that is nearest above; empty if none is."""
        above = frame.f_back
        while above is not None and not self._module_of(above):
            above = above.f_back
        return self._module_of(above) if above else ""

    def _module_of(self, frame: FrameType) -> str:
        code = frame.f_code
        if code not in self._modules:
            self._modules[code] = module_of(code)
        return self._modules[code]

    def _lines(self, parent: str, depth: int) -> Iterator[tuple[int, str]]:
        for module, above in self.parents.items():
            if above == parent:
                yield depth, module
                yield from self._lines(module, depth + 1)


def traced(call: Callable[[], object], *, prepare: Callable[[], object] = lambda: None) -> Flow:
    """Return what a call crosses in this thread, the second time, when all is imported.

    Args:
        call: The call to trace.
        prepare: Called before each call, and not traced.
    """
    prepare()
    call()
    prepare()
    flow, before = Flow(), sys.getprofile()
    sys.setprofile(flow.see)
    try:
        call()
    finally:
        sys.setprofile(before)
    return flow


def module_of(code: CodeType) -> str:
    """Return the module of the package that code is in; empty if it is not one to draw."""
    path = Path(code.co_filename)
    if code.co_name == "<module>" or not path.is_relative_to(PACKAGE):
        return ""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return "" if name in EVERYWHERE else name
