"""Rounding of arrays: arrays in, codes out. Knows no tensor class and no torch."""
