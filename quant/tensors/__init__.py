"""QuantizedTensor, a weight that is its codes, and quantize()."""
