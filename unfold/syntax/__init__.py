"""Text to tree, spans, diagnostics, and back to text."""
