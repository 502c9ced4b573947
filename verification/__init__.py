"""Long campaigns of evidence that CI does not run as a whole: one command each."""
