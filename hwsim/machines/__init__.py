"""Accelerators: their parts, one TOML file a design."""
