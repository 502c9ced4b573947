"""Checkpoints: our own folder, streaming, shards, compressed-tensors, GGUF."""
