"""Evidence that nothing is lost, random or believed when damaged: faults, determinism, fuzz.

``python -m verification.reliability`` runs all of it and writes ``reports/reliability.md``.
"""
