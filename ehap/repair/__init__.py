"""Pruned networks brought near to the dense one on some images, without labels."""
