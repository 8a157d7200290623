"""Edits, kills, pulls and runs in any order on a grid of stub stages; in the end all is as if run from nothing."""
