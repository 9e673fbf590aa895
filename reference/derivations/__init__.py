"""Derivations written by hand."""
