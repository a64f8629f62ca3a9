"""``migratectl clean``: left-overs are listed with their proof, then removed one by one.

Each kind has a file: what it reads, and the pure decision about it. ``run`` puts them together.
"""
