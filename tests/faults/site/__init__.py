"""A small site, as the processes of the fault tests see it."""
