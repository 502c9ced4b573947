"""Tests of the compatibility modules."""
