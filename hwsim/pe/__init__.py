"""The bit-serial processing element: terms, specification in plain integers, fast kernels."""

from __future__ import annotations

from hwsim.pe.activations import ACTIVATIONS, activation_format
from hwsim.pe.arithmetic import PUBLISHED, Arithmetic
from hwsim.pe.bounds import error_bound, worst_case
from hwsim.pe.product import matmul
from hwsim.pe.terms import TermTable, pe_formats, term_count, term_table

__all__ = [
    "ACTIVATIONS",
    "PUBLISHED",
    "Arithmetic",
    "TermTable",
    "activation_format",
    "error_bound",
    "matmul",
    "pe_formats",
    "term_count",
    "term_table",
    "worst_case",
]
