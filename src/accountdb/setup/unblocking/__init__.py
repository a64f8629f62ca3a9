"""``migratectl unblock``: why a stream stands still, and the ways past the transaction that it stands at."""
