"""A small shop that exports its orders: ``python -m demo`` from the root of the repository."""
