"""State dictionaries of PyTorch's recurrent modules as parameters of our cells, and back.

    params = fn.init() | unfold.from_torch(state, fn, prefix="rnn.")

A mapping between names and rows of arrays; PyTorch is not needed. What corresponds:

======================= =============== =============== ============================================
`torch.nn`, layer k     `elman`         `lstm`          `gru`
======================= =============== =============== ============================================
``weight_ih_lk``        ``W``           ``Wi Wf Wg Wo`` ``Wr Wz Wn``, blocks of rows in this order
``weight_hh_lk``        ``U``           ``Ui Uf Ug Uo`` ``Ur Uz Un``
``bias_ih_lk``          ``b``           ``bi bf bg bo`` ``br bz bn``
``bias_hh_lk``          added to ``b``  added           added, but the last block is ``cn``
======================= =============== =============== ============================================

The second direction of a bidirectional module has the suffix ``_reverse``. `torch.nn.RNN` computes
as `elman` with its default ``nonlinearity="tanh"``; `torch.nn.GRU` has the reset gate behind the
product, which is our `gru` and not `gru_original`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .expr import Call, Const, Expr, Ref, names, walk
from .inputs import listed
from .parameters import misfits
from .program import Equation, Program
from .stages import front

if TYPE_CHECKING:
    from .function import Function
    from .model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """A kind of cell: the letters of its blocks of rows, and the block with a bias of its own."""

    module: str
    blocks: tuple[str, ...]
    apart: str | None = None

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters' names, without a prefix."""
        own = () if self.apart is None else (f"c{self.apart}",)
        return (*(f"{kind}{block}" for kind in "WUb" for block in self.blocks), *own)


CELLS = {
    "elman": Cell("nn.RNN", ("",)),
    "lstm": Cell("nn.LSTM", ("i", "f", "g", "o")),
    "gru": Cell("nn.GRU", ("r", "z", "n"), apart="n"),
}
_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_(l\d+(?:_reverse)?)")


@dataclass(frozen=True)
class Place:
    """A cell in a model: its kind, what stands before its parameters, and its torch suffix."""

    kind: str
    prefix: str
    suffix: str


def from_torch(
    state: Mapping[str, Any],
    model: Function | Model | Program,
    /,
    *,
    prefix: str = "",
    into: str = "",
    cells: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    """Parameters of a model's cells from the state dictionary of an `nn.RNN`, `nn.LSTM`, `nn.GRU`.

    The model's cells `elman`, `lstm` or `gru` are the module's layers, in order of declaration;
    those in `reverse` are its second direction.

    Args:
        state: arrays by PyTorch's names: ``module.state_dict()``, or a file that `load_params`
            reads. Names that do not begin with ``prefix``, and those of other modules, are left.
        model: a model, or a function compiled from it, whose sizes are then checked.
        prefix: what the state's names begin with, ``"rnn."`` say.
        into: the part of the model that is meant, ``"enc"``; default: all of it.
        cells: which cell is which, where the order does not tell: ``{"l0": "enc", "l1": "top"}``.

    Returns:
        The parameters of these cells by their names in the model, with the state's dtype. A module
        without biases gives zeros.

    Raises:
        InputError: layers, directions, kinds or sizes do not agree, or arrays are missing.
    """
    program = _program(model)
    layers = _layers(state, prefix)
    places = _places(program, into, cells)
    if {p.suffix for p in places} != set(layers):
        there = ", ".join(f"{p.suffix}: {p.prefix or p.kind}" for p in places)
        raise InputError(
            f"the state has the layers {listed(layers)}, but the {places[0].kind} cells of "
            f"{program.name} are {there}"
        )
    found: dict[str, Array] = {}
    for place in places:
        found |= _read(place, layers[place.suffix], prefix)
    if wrong := misfits(model, found):
        lines = "".join(f"\n    {line}" for line in wrong)
        raise InputError(f"the state does not fit {program.name}:{lines}")
    return found


def to_torch(
    params: Mapping[str, Any],
    model: Function | Model | Program,
    /,
    *,
    prefix: str = "",
    into: str = "",
    cells: Mapping[str, str] | None = None,
    bias: bool = True,
) -> dict[str, Array]:
    """The state dictionary of an `nn.RNN`, `nn.LSTM` or `nn.GRU` that computes as a model's cells.

    Of the two biases that PyTorch adds, ``bias_ih`` is the cell's and ``bias_hh`` zero (the ``cn``
    of a `gru` goes where it belongs). In PyTorch:
    ``module.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()})``.

    Args:
        params, model, prefix, into, cells: as for `from_torch`.
        bias: whether the module has biases; those of the cells must be zero if not.

    Raises:
        InputError: no such cells, parameters that are missing, a bias that is not zero.
    """
    found: dict[str, Array] = {}
    for place in _places(_program(model), into, cells):
        cell = CELLS[place.kind]
        missing = [place.prefix + n for n in cell.params if place.prefix + n not in params]
        if missing:
            raise InputError(f"the parameters lack {listed(missing)}")
        own = {n: np.asarray(params[place.prefix + n]) for n in cell.params}
        for kind, name in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
            rows = np.concatenate([own[kind + block] for block in cell.blocks])
            found[f"{prefix}{name}_{place.suffix}"] = rows
        side = np.zeros_like(found[f"{prefix}bias_ih_{place.suffix}"])
        if cell.apart is not None:
            side[-len(own[f"c{cell.apart}"]) :] = own[f"c{cell.apart}"]
        found[f"{prefix}bias_hh_{place.suffix}"] = side
    if not bias:
        for name in [n for n in found if n.startswith(f"{prefix}bias_")]:
            if np.any(found.pop(name)):
                raise InputError(f"{name} would not be zero, and bias=False says there is none")
    return found


# --- the state dictionary ---------------------------------------------------------------------


def _layers(state: Mapping[str, Any], prefix: str) -> dict[str, dict[str, Array]]:
    """The arrays of each layer and direction, ``l0_reverse``, by what they are."""
    layers: dict[str, dict[str, Array]] = {}
    for name, value in state.items():
        match = _NAME.fullmatch(name[len(prefix) :]) if name.startswith(prefix) else None
        if match is None:
            continue
        if match[1] == "weight_hr":
            raise InputError(f"{name}: an LSTM with projections (proj_size) is not our lstm")
        layers.setdefault(match[2], {})[match[1]] = _array(name, value)
    if not layers:
        others = sorted({n[: m.start()] for n in state if (m := _NAME.search(n))} - {prefix})
        hint = f"; with prefix={others[0]!r} there is" if others else ""
        raise InputError(f"the state has no {prefix}weight_ih_l0{hint}")
    return dict(sorted(layers.items(), key=lambda item: _order(item[0])))


def _order(suffix: str) -> tuple[int, bool]:
    number, _, direction = suffix[1:].partition("_")
    return int(number), bool(direction)


def _array(name: str, value: Any) -> Array:
    try:
        # A tensor that is being trained has to be told that it is only read.
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is no array that NumPy can read: {error}") from None
    if array.dtype.kind != "f":
        raise InputError(f"{name}: expected an array of reals, got one of {array.dtype}")
    return array


def _read(place: Place, layer: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The parameters of one cell."""
    cell, count = CELLS[place.kind], len(CELLS[place.kind].blocks)
    for name in ("weight_ih", "weight_hh"):
        if name not in layer:
            raise InputError(f"the state lacks {prefix}{name}_{place.suffix}")
    if ("bias_ih" in layer) != ("bias_hh" in layer):
        lost = "bias_hh" if "bias_ih" in layer else "bias_ih"
        raise InputError(f"the state lacks {prefix}{lost}_{place.suffix}")
    units = layer["weight_hh"].shape[-1]
    none = np.zeros(count * units, layer["weight_hh"].dtype)
    biases = {n: layer.get(n, none) for n in ("bias_ih", "bias_hh")}
    for name, array in sorted({**layer, **biases}.items(), reverse=True):
        if array.shape[:1] != (count * units,):
            rows, kinds = array.shape[0] if array.ndim else 0, dict(_ROWS)
            kind = kinds.get(rows // units if units and rows % units == 0 else 0, "another module")
            raise InputError(
                f"{prefix}{name}_{place.suffix} has {rows} rows, as in {kind}; {cell.module} of "
                f"{units} units, our {place.kind}, has {count * units}"
            )

    def blocks(array: Array) -> list[Array]:
        return [np.array(part) for part in np.split(array, count)]

    found: dict[str, Array] = {}
    for kind, name in (("W", "weight_ih"), ("U", "weight_hh")):
        found |= {f"{kind}{b}": a for b, a in zip(cell.blocks, blocks(layer[name]), strict=True)}
    for b, ours, theirs in zip(cell.blocks, *map(blocks, biases.values()), strict=True):
        if b and b == cell.apart:
            found |= {f"b{b}": ours, f"c{b}": theirs}
        else:
            found[f"b{b}"] = ours + theirs
    return {place.prefix + name: found[name] for name in cell.params}


_ROWS = tuple((len(cell.blocks), cell.module) for cell in CELLS.values())


# --- the cells of a model ---------------------------------------------------------------------


def _program(model: Function | Model | Program) -> Program:
    found: Any = getattr(model, "declared", None) or getattr(model, "program", model)
    return found


def _places(program: Program, into: str, named: Mapping[str, str] | None) -> list[Place]:
    """The cells that are meant, with the suffixes of their layers."""
    inside = f"{into}." if into else ""
    found = {p: kind for p, kind in _cells(program).items() if p.startswith(inside)}
    if named is not None:
        lost = [n for n in named.values() if (f"{n}." if n else "") not in found]
        if lost:
            raise InputError(f"{program.name} has no cell {lost[0]!r}; {_there(program)}")
        found_ = {suffix: f"{n}." if n else "" for suffix, n in named.items()}
        places = [Place(found[p], p, suffix) for suffix, p in found_.items()]
    else:
        counts = {False: 0, True: 0}
        places = []
        for p, kind in found.items():
            back = _runs_back(program, p)
            suffix = f"l{counts[back]}{'_reverse' if back else ''}"
            places.append(Place(kind, p, suffix))
            counts[back] += 1
    if not places:
        where = f" below {into}" if into else ""
        raise InputError(
            f"{program.name} has no cell elman, lstm or gru of `from cells use`{where}"
            + (f"; {_there(program)}" if _cells(program) else "")
        )
    kinds = list(dict.fromkeys(p.kind for p in places))
    if len(kinds) > 1:
        raise InputError(
            f"{program.name} has cells of several kinds ({_there(program)}), which are several "
            "modules in PyTorch: take one at a time, by into="
        )
    return places


def _there(program: Program) -> str:
    return "its cells are " + listed(
        f"{p.removesuffix('.') or program.name} ({kind})" for p, kind in _cells(program).items()
    )


def _cells(program: Program) -> dict[str, str]:
    """Prefix -> kind for each of our cells in a program, in order of declaration.

    A cell is known by its equations, not by the names of its parameters alone: other cells have a
    ``W``, a ``U`` and a ``b`` too.
    """
    groups: dict[str, list[str]] = {}
    for v in program.params:
        before, dot, name = v.name.rpartition(".")
        groups.setdefault(before + dot, []).append(name)
    found = {}
    for prefix, own in groups.items():
        for kind, cell in CELLS.items():
            if set(cell.params) <= set(own) and _meaning(program, prefix, cell) == _known(kind):
                found[prefix] = kind
    return found


@cache
def _known(kind: str) -> frozenset[Any]:
    return _meaning(front(f"from cells use {kind}\n" + _ALONE.format(kind)), "c.", CELLS[kind])


_ALONE = """model alone(D, H):
    input x[t]: real[D]
    c = {}(x, H)
    output c.h[t]
"""


def _meaning(program: Program, prefix: str, cell: Cell) -> frozenset[Any]:
    """The equations of the cell's steps with its own names, whatever it reads and in whichever
    direction it runs."""
    own = {prefix + n for n in cell.params}
    gates = [e for e in program.equations if names(e.rhs) & own]
    # Names below the prefix, and no further down.
    local = {n for n in program.vars if n.startswith(prefix) and "." not in n[len(prefix) :]}
    local -= {v.name for v in program.inputs}
    work = list(gates)
    seen = {e.name for e in gates}
    while work:
        for other in sorted(names(work.pop().rhs) & local - seen - own):
            seen.add(other)
            work += _steps(program, other)
    return frozenset(
        (e.name[len(prefix) :], _form(e.rhs, prefix, local))
        for name in seen
        for e in _steps(program, name)
    )


def _steps(program: Program, name: str) -> list[Equation]:
    """The pieces of a variable that are no boundary."""
    return [e for e in program.pieces(name) if not e.pins]


def _form(e: Expr, prefix: str, local: set[str]) -> Any:
    if isinstance(e, Ref):
        if e.name not in local:
            return "read"
        lags = tuple(abs(p.offset) for p in e.index)
        return (e.name[len(prefix) :], lags)
    if not names(e) & local:
        return e.value if isinstance(e, Const) else "read"
    inner = tuple(_form(c, prefix, local) for c in e.operands)
    return (e.op if isinstance(e, Call) else type(e).__name__, inner)


def _runs_back(program: Program, prefix: str) -> bool:
    """Whether the cell's state reads its own next step."""
    h = f"{prefix}h"
    for e in program.equations:
        if e.name.startswith(prefix) and not e.pins:
            for node in walk(e.rhs):
                if isinstance(node, Ref) and node.name == h and node.index[0].offset:
                    return node.index[0].offset > 0
    return False


__all__ = ["from_torch", "to_torch"]
