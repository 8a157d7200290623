"""Milliseconds of a call."""
