"""A small shop that exports its orders. Run ``python -m demo`` from the root of the repository."""
