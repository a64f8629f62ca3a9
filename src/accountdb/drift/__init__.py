"""Structure of a database, read from the catalog and compared.

``structure`` is what is compared, ``read`` fills it, ``compare`` is pure, ``canonical`` is what
the package expects, ``verify`` puts them together. ``findings`` has several sides beside each other,
``scope`` what of them can be compared at all, ``ignore`` takes out what is meant to differ,
``describe`` puts it into words. ``kinds`` lists the object kinds (each has one
SQL file of its own name in ``sql/drift/``) and what is not compared; ``rules`` lists the single
objects that are left out, each with its reason.
"""
