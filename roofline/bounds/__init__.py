"""The bounds that a device sets for a workload: analysis, sweeps, limits, serving."""
