"""The upgrade from 0.6, whose downloads were in the cache alone; to be removed in 2.0."""

__all__: list[str] = []
