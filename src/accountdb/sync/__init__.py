"""pgsync: one region written, the other follows, with ordinary rights."""
