"""Comparing the data of two regions: where it differs, and how each row does."""
