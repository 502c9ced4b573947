"""Predictions beside measured kernels and servers."""
