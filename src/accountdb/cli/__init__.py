"""The two commands. This is the only room that prints and exits."""
