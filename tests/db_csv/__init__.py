"""Tests of db_csv."""
