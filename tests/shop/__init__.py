"""The smallest site that has something to export."""
