"""Data sets: images and questions, found, checked, read and encoded, and the plan of their chunks."""
