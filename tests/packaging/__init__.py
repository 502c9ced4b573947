"""Packaging: extras, versions, wheel and sdist."""
