"""Design spaces and their Pareto fronts."""
