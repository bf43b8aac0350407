"""The server side of the download centre: fragments, pushes and websockets."""

__all__: list[str] = []
