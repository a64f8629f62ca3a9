"""``migratectl migrate``: one region, or several together, also while they stream.

``run`` is the command; ``together`` commits in all regions or in none; ``finishing`` ends a run that died between its
commits; ``streams`` and ``fence`` are what live replication needs; ``adopting`` takes over a database that others made.
"""
