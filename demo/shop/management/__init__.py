"""The shop at a shell."""
