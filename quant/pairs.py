"""OliVe's outlier-victim pairs as a format (placeholder until quant.olive lands)."""
