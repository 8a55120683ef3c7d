"""A run: its lease, and its jobs' logs, times and progress."""
