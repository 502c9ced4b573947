"""Models: loading, applying formats, evaluating, texts."""
