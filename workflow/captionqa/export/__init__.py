"""Exports: final results in the formats of other programs."""
