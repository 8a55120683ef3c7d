"""The benchmark suite: captionqa beside what people would use instead, on the same work; `make bench` runs it."""
