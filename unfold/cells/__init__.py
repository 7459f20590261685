"""The library of ready models, written in `.rec`."""
