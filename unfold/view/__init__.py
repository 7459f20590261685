"""A page that shows a model at work, with the numbers of a real run.

`choose` completes sizes and data, `record` runs the model and keeps every value, `timeline` says
when each is computed, `places` which boxes and lines there are, `stored` what waits in memory and
`sample` what the model says by itself; `gather` makes plain data of it all and `page` one HTML file
that needs nothing else. The scripts beside them draw it. `view` is all of it in one call.
"""

from __future__ import annotations

from .entry import view

__all__ = ["view"]
