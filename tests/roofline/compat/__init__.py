"""Parity tests of roofline.compat."""
