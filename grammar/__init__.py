"""The grammar of the `.rec` language, as data."""
