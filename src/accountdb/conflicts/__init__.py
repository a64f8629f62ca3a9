"""Conflicts as a task list: what replication settled, and how a person finishes it."""
