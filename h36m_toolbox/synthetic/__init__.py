"""A synthetic Human3.6M in the original's own formats."""
