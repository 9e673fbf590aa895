"""The command `gradconform`."""
