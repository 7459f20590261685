"""The interpreter: walks the explicit graph; the meaning of the language."""
