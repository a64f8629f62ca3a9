"""Guards: the generated triggers that settle conflicts while a replication worker applies changes."""
