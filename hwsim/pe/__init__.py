"""The bit-serial processing element: terms, specification in plain integers, fast kernels."""

from __future__ import annotations

from hwsim.pe.arithmetic import PUBLISHED, Arithmetic
from hwsim.pe.matmul import matmul
from hwsim.pe.terms import TermTable, pe_formats, term_count, term_table

__all__ = [
    "PUBLISHED",
    "Arithmetic",
    "TermTable",
    "matmul",
    "pe_formats",
    "term_count",
    "term_table",
]
