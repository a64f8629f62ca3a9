"""Benchmarks: ratios against something run beside it, each with its bar."""
