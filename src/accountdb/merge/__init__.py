"""Bringing two regions to the same rows: merge, its healing pass, retention."""
