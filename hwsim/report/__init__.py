"""Tables and figures of simulation and co-design."""
