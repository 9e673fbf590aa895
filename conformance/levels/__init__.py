"""The whole level and the step level of a case."""
