"""Other simulators on one product, in an environment of their own."""
