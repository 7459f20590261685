"""The page: one HTML file that holds all it needs."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from typing import Any

#: In the order in which a browser reads them.
SCRIPTS = ("numbers.js", "story.js", "graph.js", "panels.js", "page.js")


def page(data: dict[str, Any]) -> str:
    """The HTML of the page; a policy in it forbids everything that is not in the file itself."""
    style = _text("page.css")
    script = "".join(_text(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    # Within <script> only `</`, `<!--` and the like would end or change what is read.
    payload = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    payload = payload.replace("<", "\\u003c").replace("\u2028", "\\u2028")
    payload = payload.replace("\u2029", "\\u2029")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    filled = {
        "policy": html.escape(policy, quote=True),
        "title": html.escape(f"{data['model']} · unfold"),
        "style": style,
        "data": payload,
        "script": script,
    }
    parts = _text("page.html").split("{{")
    text = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        text += [filled[name], rest]
    return "".join(text)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


__all__ = ["page"]
