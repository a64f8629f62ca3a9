"""``migratectl doctor``: the checklist of an operator, checked.

It asks both what runs (health) and what was set up (setup), which know nothing of each other: so it stands
above the two. One file for each subject: what it reads, and the pure judgement of it.
"""
