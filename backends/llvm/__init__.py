"""Native code for a plan."""
