"""Devices: their peaks, memories and links, one TOML file each."""
