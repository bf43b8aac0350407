"""The upgrade from 0.6, which kept downloads in the cache alone; to be removed in 2.0.

Only the command ``adopt_downloads`` imports it.
"""

__all__: list[str] = []
