"""A task of each executor that does what the conformance suite asks for, and its workers."""
