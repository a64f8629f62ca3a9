"""Migrations: plain SQL files, applied in order, with a ledger in accountdb.migration."""
