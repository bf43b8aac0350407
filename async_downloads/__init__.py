"""Files that take too long to build inside a request."""

__version__ = "1.0.0.dev0"
