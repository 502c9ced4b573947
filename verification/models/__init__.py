"""Tiny models of many families in every method and way: covered, kept, written, run again."""
