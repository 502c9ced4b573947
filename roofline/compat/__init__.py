"""Other tools' own formulas, faults and all, one module each: for parity, never for results."""
