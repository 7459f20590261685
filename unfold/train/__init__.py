"""Training: optimisers, data, and the loop around them."""
