"""The numbers of all processes for Prometheus, without a token, as the demo is on the loopback."""

from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from async_downloads.metrics.prometheus import registry

__all__ = ["metrics"]


def metrics(request: HttpRequest) -> HttpResponse:
    """Serve the metrics."""
    return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_LATEST)
