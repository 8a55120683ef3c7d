"""What all jobs of a run share: the lease, logs, times and progress."""
