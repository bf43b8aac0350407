"""Tasks and workers of each executor for the conformance suite."""
