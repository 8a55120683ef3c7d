"""Configuration: what the user asks for, checked, and where every file of a run is."""
