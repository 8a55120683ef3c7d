"""The parts of the benchmark: what each measures, and the rows that it returns."""
