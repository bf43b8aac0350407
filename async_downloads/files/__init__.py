"""Files in the storage, and their names."""

__all__: list[str] = []
