"""SQL text of files as tokens and statements; pure. What reads a schema file and what runs a migration share it."""
