"""What the public surface takes and refuses."""
