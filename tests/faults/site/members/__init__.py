"""Users of another kind: a UUID for a primary key, an e-mail address for a name."""
