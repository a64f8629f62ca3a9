"""Preparing regions: init, join, leave, reset; composed from the features."""
