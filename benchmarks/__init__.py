"""Measurements beside other libraries and other ways."""
