"""The benchmark suite: captionqa beside the clients that people would use instead; `make bench` runs it."""
