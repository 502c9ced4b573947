"""Cycles, energy and area of a workload on a machine."""
