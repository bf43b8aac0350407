"""The processes of the demo: which ones there are, and how they start and stop."""
