"""What all three packages share: errors, atomic files, cache, progress, configuration, JSON."""
