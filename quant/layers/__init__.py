"""Which matrices a model has, experts too, what stays, its blocks and calibration statistics."""
