"""The client job of one chunk: requests, retries, concurrency, the journal and the chunk's result."""
