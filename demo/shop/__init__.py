"""What is sold, to whom, and what can be exported of it."""
