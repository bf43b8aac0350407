"""A custom user model: a UUID as primary key, and an e-mail address as user name."""
