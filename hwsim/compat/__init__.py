"""Other simulators' arithmetic, quirks and all, one module each: to compare with, never results."""
