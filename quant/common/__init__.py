"""What all three packages share: errors, files, jobs, arguments, cache, progress, JSON."""
