"""The fast kernels of the PE, equal to ``hwsim.pe.reference``."""
