"""accountdb: one account database, alive in two PostgreSQL regions."""

__version__ = "0.1.0"
