"""Co-design: sensitivity, selection, measured choices."""
