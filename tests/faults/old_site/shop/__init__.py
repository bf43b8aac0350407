"""A site that follows the README of 0.6. A test copies it into a new environment."""

from shop.celery import app

__all__ = ["app"]
