"""Derivations: what is judged, written by hand."""
