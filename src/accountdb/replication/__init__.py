"""Two-way replication by an existing engine: pglogical, or native logical replication."""
