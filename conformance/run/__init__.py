"""How a run is carried out and kept."""
