"""The driver: what the main process does around the jobs, and what it says at the terminal."""
