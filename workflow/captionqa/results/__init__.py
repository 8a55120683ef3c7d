"""Results: chunk results merged into final files, comparisons of them, and asking again."""
