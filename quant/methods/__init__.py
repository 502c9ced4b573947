"""Ways to round weights; each takes any format whose scale search and rounding can be called."""
