"""What a number format is: registry, elements, grids, scales, specifications, custom grids."""
