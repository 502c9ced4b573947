"""Other implementations' own conventions where they contradict the main path, one module each."""
