"""`python -m unfold.cli`, where the script is not on the path."""

from __future__ import annotations

from . import main

main()
