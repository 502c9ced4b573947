"""Tests of whole models, family by family."""
