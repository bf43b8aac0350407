"""A site as the README of 0.6 has one made. It is copied, and runs in an environment of its own."""

from shop.celery import app

__all__ = ["app"]
