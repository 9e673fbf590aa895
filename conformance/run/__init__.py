"""Runs: tasks, workers, and the file that their measurements are written to."""
