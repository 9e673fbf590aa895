"""How a run goes on: its tasks, on a cluster too."""
