"""Formats, and the arithmetics that formulas run in."""
