"""From text to tree: the grammar's front end, and the diagnostics every stage reports with."""
