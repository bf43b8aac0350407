"""Files in the storage, and what they are called."""

__all__: list[str] = []
