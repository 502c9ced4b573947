"""What goes wrong around a command: signals, streams, surroundings, other people's exceptions."""
