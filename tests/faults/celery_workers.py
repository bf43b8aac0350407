"""Real Celery workers with child processes, for sites that set ``CELERY_BROKER``."""

from typing import Any, Final

from tests.faults.harness import Child, Site, eventually

__all__ = ["CAREFUL", "send", "start_celery"]

#: The task options that the documentation recommends; exceptions as dotted paths.
CAREFUL: Final[dict[str, Any]] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "autoretry_for": ["async_downloads.exceptions.DownloadUnavailable"],
    "retry_backoff": True,
    "max_retries": 10,
}


def start_celery(site: Site, *, processes: int = 1, beat: bool = False) -> Child:
    """Start a worker, with or without the beat that runs periodic tasks, until it is ready."""
    app, count = "tests.faults.site.celery_app", str(processes)
    options = ["-c", count, "-P", "prefork", "--without-mingle", "-l", "info"]
    if beat:
        options += ["--beat", "--schedule", str(site.folder / "beat")]
    worker = site.start(
        f"""
        import sys
        from celery.__main__ import main
        sys.argv[1:] = ["-A", {app!r}, "worker", *{options!r}]
        main()
        """
    )
    eventually(lambda: " ready." in worker.log, why="a Celery worker that is ready")
    return worker


def send(site: Site, task: str, *keys: str) -> None:
    """Queue a task for each download."""
    site.run(
        f"""
        from tests.faults.site.celery_app import app
        for key in {keys!r}:
            app.send_task({task!r}, (key,))
        """
    )
