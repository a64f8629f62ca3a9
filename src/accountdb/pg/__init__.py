"""Connections to PostgreSQL: data source names, sessions, capabilities."""
