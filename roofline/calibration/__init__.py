"""Laws of kernels, fitted to measurements: expected times in place of least ones."""
