"""SQL that makes the structure of one database equal to that of another.

``planning`` decides and is pure: ``parts`` splits a structure into what can be made and dropped by
itself, ``side`` knows what each part needs, ``deciding`` says what happens to it, and one module for
each family of kinds (``tables``, ``columns``, ``constraints``, ``types``, ``routines``, ``relations``,
``others``, ``rights``) writes the statements. ``writing`` makes a file of them, ``proving`` runs
them on a throw-away copy, ``applying`` on the database itself.
"""
