"""Design spaces: sweeps, limits, Pareto fronts, machines compared."""
