"""From a tree to a program: names, shapes, coverage, causality."""
