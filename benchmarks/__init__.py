"""Side-by-side timings; each prints medians, CPU seconds and ratios."""
