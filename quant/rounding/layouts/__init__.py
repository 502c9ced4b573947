"""How codes lie in memory and what they mean, one module a layout."""
