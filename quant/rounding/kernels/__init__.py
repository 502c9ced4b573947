"""The threaded Numba twins of ``quant.rounding.reference``."""
