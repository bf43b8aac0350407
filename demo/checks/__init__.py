"""The checks of ``python -m demo --check``: people who use the shop over HTTP."""
