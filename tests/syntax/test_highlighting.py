"""What editors are told of the grammar agrees with the grammar."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from unfold.grammar import text


def rules() -> dict[str, Any]:
    raw = files("unfold.grammar").joinpath("rec.tmLanguage.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(raw)
    return data


def patterns(node: Any) -> list[str]:
    """Every regular expression in the file."""
    if isinstance(node, list):
        return [found for item in node for found in patterns(item)]
    if isinstance(node, dict):
        own = [node[key] for key in ("match", "begin", "end") if key in node]
        return own + [found for item in node.values() for found in patterns(item)]
    return []


def test_every_word_of_the_language_is_highlighted() -> None:
    words = set(re.findall(r'"([a-z]+)"', text()))
    highlighted = set(re.findall(r"[a-z]+", " ".join(patterns(rules()))))
    assert {"model", "minimize", "reverse", "by"} <= words <= highlighted


def test_every_pattern_is_a_regular_expression_and_every_rule_exists() -> None:
    data = rules()
    for pattern in patterns(data):
        re.compile(pattern)
    included = set(re.findall(r'"#(\w+)"', json.dumps(data)))
    assert included == set(data["repository"])
