"""In which order the rows stand, from below upwards.

Lines within a step lead upwards: what is read stands below what reads it. The rows of one
sub-model stand together, and so do those of one variable where they can. Inputs stand just below
their first reader, and adjoint rows above all others, in which order the same rule leads from the
loss back to the inputs. An unrolled picture keeps to the order of the rolled one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .picture import Box, Picture, Row

Key = Callable[[Row], Any]


def row_order(picture: Picture) -> list[Row]:
    """The rows from below upwards."""
    boxes = picture.boxes
    first: dict[Row, int] = {}
    inputs: set[Row] = set()
    back: set[Row] = set()
    original: dict[Row, str] = {}
    for box in boxes.values():
        if box.margin:
            continue
        first.setdefault(box.row, len(first))
        original.setdefault(box.row, box.of)
        if box.kind == "input":
            inputs.add(box.row)
        if box.back:
            back.add(box.row)
    readers = _readers(picture)
    path = {row: picture.models_of(row[0]) for row in first}
    variable: dict[str, int] = {}
    for row in first:
        variable.setdefault(row[0], len(variable))
    base = _base(picture)

    def known(row: Row) -> int:
        return base.get(original[row], len(base))

    forward = [row for row in first if row not in inputs and row not in back]
    order = _nested(
        forward, readers, path, lambda row: (known(row), variable[row[0]], first[row]), 0
    )
    rank = {row[0]: k for k, row in enumerate(order)}
    # Among adjoints that nothing puts in order, that of the uppermost variable comes first.
    above = _nested(
        [row for row in first if row in back], readers, path,
        lambda row: (known(row), -rank.get(_partner(row[0], rank), 0), first[row]), 0,
    )  # fmt: skip
    declared = {name: k for k, name in enumerate(picture.rolled.boxes if picture.rolled else ())}
    for row in sorted(inputs, key=lambda row: (declared.get(original[row], 0), first[row])):
        _insert(order, row, readers[row], path)
    return order + above


def _readers(picture: Picture) -> dict[Row, set[Row]]:
    """Which rows read which within a step."""
    readers: dict[Row, set[Row]] = defaultdict(set)
    for line in picture.lines:
        start, end = picture.boxes[line.start], picture.boxes[line.end]
        if start.margin or end.margin or start.row == end.row:
            continue
        # What is left out between two steps would look like a dependence within one.
        if (start.elided or end.elided) and start.column != end.column:
            continue
        if line.now and _may_meet(picture, start, end):
            readers[start.row].add(end.row)
    return readers


def _may_meet(picture: Picture, start: Box, end: Box) -> bool:
    """Whether two boxes stand above each other, or, in a rolled picture, on two clocks."""
    if start.column == end.column or start.column is None or end.column is None:
        return True
    columns = picture.columns
    return picture.view == "rolled" and columns[start.column].index != columns[end.column].index


def _base(picture: Picture) -> dict[str, int]:
    """The rank of every box of the rolled picture, if there is one."""
    if picture.rolled is None:
        return {}
    rank = {row: k for k, row in enumerate(row_order(picture.rolled))}
    return {b.name: rank[b.row] for b in picture.rolled.boxes.values() if b.row in rank}


def _insert(order: list[Row], row: Row, readers: set[Row], path: Mapping[Row, Any]) -> None:
    """Put an input below its first reader, and below the sub-models that are not its own."""
    at = next((k for k, other in enumerate(order) if other in readers), 0)
    while 0 < at < len(order):
        foreign = set(path[order[at]]) - set(path[row])
        if not foreign & set(path[order[at - 1]]):
            break
        at -= 1
    order.insert(at, row)


def _partner(adjoint: str, variables: Iterable[str]) -> str:
    """The variable in whose name an adjoint's name begins: ``i`` for ``i_pre_bar``."""
    return max((v for v in variables if adjoint.startswith(f"{v}_")), key=len, default="")


def _nested(
    rows: list[Row],
    readers: Mapping[Row, set[Row]],
    path: Mapping[Row, tuple[str, ...]],
    key: Key,
    depth: int,
) -> list[Row]:
    """Rows in order, where those of a sub-model count as one until they are put in order too."""
    members: dict[Any, list[Row]] = {}
    item: dict[Row, Any] = {}
    for row in rows:
        item[row] = path[row][depth] if len(path[row]) > depth else row
        members.setdefault(item[row], []).append(row)
    lifted: dict[Any, set[Any]] = defaultdict(set)
    for row in rows:
        lifted[item[row]] |= {item[r] for r in readers.get(row, ()) if r in item} - {item[row]}
    keys = {name: min(key(row) for row in own) for name, own in members.items()}
    order: list[Row] = []
    for name in _in_order(members, lifted, keys):
        own = members[name]
        order += own if own == [name] else _nested(own, readers, path, key, depth + 1)
    return order


def _in_order(
    items: Iterable[Any], readers: Mapping[Any, set[Any]], keys: Mapping[Any, Any]
) -> list[Any]:
    """Topologically, where the members of a circle stand together."""
    import networkx as nx

    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_nodes_from(items)
    graph.add_edges_from((a, b) for a in graph for b in readers.get(a, ()))
    circle: dict[Any, Any] = {}
    for members in nx.strongly_connected_components(graph):
        circle |= dict.fromkeys(members, min(members, key=lambda i: keys[i]))
    together: dict[Any, list[Any]] = {}
    outside: dict[Any, set[Any]] = defaultdict(set)
    for item in graph:
        together.setdefault(circle[item], []).append(item)
        outside[circle[item]] |= {circle[r] for r in graph[item]} - {circle[item]}
    first = _sorted(together, outside, keys)
    return [item for one in first for item in _sorted(together[one], readers, keys)]


def _sorted(
    items: Iterable[Any], readers: Mapping[Any, set[Any]], keys: Mapping[Any, Any]
) -> list[Any]:
    """Topologically, smallest key first; a circle is broken at its smallest key."""
    waiting = dict.fromkeys(items, 0)
    number = {item: k for k, item in enumerate(waiting)}
    for item in waiting:
        for reader in readers.get(item, ()):
            if reader in waiting:
                waiting[reader] += 1
    order: list[Any] = []
    ready = [(keys[i], number[i], i) for i, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    while waiting:
        if ready:
            found = heapq.heappop(ready)[2]
            if found not in waiting:
                continue
        else:
            found = min(waiting, key=lambda i: (keys[i], number[i]))
        del waiting[found]
        order.append(found)
        for reader in readers.get(found, ()):
            if reader in waiting:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready, (keys[reader], number[reader], reader))
    return order


__all__ = ["row_order"]
