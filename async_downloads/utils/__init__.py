"""Log records, texts of errors and a circuit breaker."""

__all__: list[str] = []
