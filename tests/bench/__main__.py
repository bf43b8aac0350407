"""Measures, and judges nothing: ``nox -s bench``."""

from tests.bench import latency

latency.run()
