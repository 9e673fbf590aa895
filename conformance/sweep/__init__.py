"""Sweeps: an operator of one number asked at every number of a dtype."""
