"""Tests; each folder mirrors a package: here the documents."""
