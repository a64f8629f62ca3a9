"""Rows on their way from one database into another, whatever for: what merge and sync share."""
