"""Which modules of a model hold weights: their matrices, blocks and calibration statistics."""
