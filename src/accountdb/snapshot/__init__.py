"""Snapshots: the account tables of one moment as a file, and back."""
