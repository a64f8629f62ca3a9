"""Inspection of tables: what the catalog says, as plain values."""
