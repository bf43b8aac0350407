"""A download's life: any order of events, checked against a model."""
