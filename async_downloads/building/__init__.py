"""From rows, a file or members to one file in the storage, with progress and limits."""

__all__: list[str] = []
