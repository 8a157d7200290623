"""Latency: milliseconds of networks in engines."""
