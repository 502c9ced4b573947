"""The proofs that specification, kernels and RTL are equal: ``python -m tests.verification``."""
