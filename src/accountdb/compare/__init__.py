"""Comparing and merging the data of two regions."""
