"""One record per primitive operation."""
