"""Parameters in files: safetensors and npz, under the names that the `.rec` file gives them.

A file also holds metadata, values of JSON by name: each stands in the header of a `.safetensors` as
a string of JSON, and all together, as one string of JSON, in the array ``__metadata__`` of an
`.npz`. What this package writes itself: ``model`` (its name), ``sizes`` (a dict) and, where a model
speaks of tokens, ``vocabulary`` (a list: token number to text).
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .files import atomically
from .inputs import kind_of, nearest
from .sizes import inferred_sizes

if TYPE_CHECKING:
    from .function import Function
    from .model import Model
    from .program import Program, Var

Array = NDArray[Any]
SUFFIXES = (".safetensors", ".npz")
_KINDS = "an .npz or a .safetensors"
METADATA = "__metadata__"
ZIP, NPY = b"PK", b"\x93NUMPY"


class Params(dict[str, Array]):
    """Arrays by the names of parameters, as they came from a file.

    Attributes:
        metadata: what else the file says, by name: values of JSON.
    """

    def __init__(
        self, arrays: Mapping[str, Array], metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(arrays)
        self.metadata: dict[str, Any] = dict(metadata or {})


def save_params(
    path: str | os.PathLike[str], params: Mapping[str, Any], /, **metadata: Any
) -> None:
    """Write parameters to a `.safetensors` or an `.npz`, by the suffix; whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        params: arrays (or numbers) by name. Their dtypes are kept.
        metadata: values of JSON by name, such as ``model="gru"``, ``sizes={"H": 16}``; those of
            ``params``, if `load_params` made it, are kept unless they are given here.

    Raises:
        InputError: another suffix, an array that is neither of numbers nor of truth values, a
            value that JSON does not have.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{os.fspath(path)}: parameters go to files in {' or '.join(SUFFIXES)}")
    if not isinstance(params, Mapping):
        raise InputError(
            f"the parameters come as a dict from names to arrays, not as {kind_of(params)}"
        )
    arrays = {str(name): _plain(str(name), value) for name, value in params.items()}
    texts = {n: _text(n, v) for n, v in {**getattr(params, "metadata", {}), **metadata}.items()}
    if suffix == ".npz":
        if texts:
            whole = "{" + ", ".join(f"{json.dumps(n)}: {t}" for n, t in texts.items()) + "}"
            arrays[METADATA] = np.asarray(whole)
        atomically(path, lambda file: write_npz(file, arrays))
    else:
        encoded = _safetensors(arrays, texts)
        atomically(path, lambda file: file.write(encoded))


def load_params(
    path: str | os.PathLike[str], model: Function | Model | Program | None = None, /
) -> Params:
    """Read parameters from a `.safetensors` or an `.npz`, with their dtypes.

    Files of other programs can be read as well, PyTorch's say; ``bfloat16``, which NumPy has not,
    becomes float32, which holds its values exactly.

    Args:
        path: the file.
        model: a compiled function, or a model, whose parameters these must be: see `check_params`.

    Returns:
        A dict from names to arrays, with an attribute ``metadata``.

    Raises:
        InputError: the file is damaged or of another kind, or does not fit ``model``.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(9)
        file.seek(0)
        try:
            params = _read_npz(file) if _is_npz(path, head) else _read_safetensors(file.read())
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from None
    if model is not None:
        check_params(model, params, os.fspath(path))
    return params


def _is_npz(path: str | os.PathLike[str], head: bytes) -> bool:
    """By the suffix, which the first bytes must bear out; by them alone where it says nothing."""
    suffix, zipped = Path(path).suffix.lower(), head.startswith(ZIP)
    if head.startswith(NPY):
        raise InputError("it holds one array without a name; an .npz is needed")
    if suffix == ".npz" and not zipped:
        raise InputError("it is damaged, or of another kind: an .npz is a zip archive")
    if suffix == ".safetensors" and zipped:
        raise InputError("it is a zip archive, an .npz perhaps, and no .safetensors")
    if suffix not in SUFFIXES and not zipped and head[8:9] != b"{":
        # Behind eight bytes of length, a .safetensors begins with an object of JSON.
        raise InputError(f"arrays, and their names, are read from {_KINDS}{_cure(path)}")
    return zipped


def _cure(path: str | os.PathLike[str]) -> str:
    """How a table of numbers becomes an `.npz`."""
    suffix, name = Path(path).suffix.lower(), os.fspath(path)
    comma = {".csv": ', delimiter=","', ".tsv": "", ".txt": "", ".dat": ""}.get(suffix)
    if comma is None:
        return ""
    stem = Path(path).stem
    return f'; `numpy.savez("{stem}.npz", x=numpy.loadtxt("{name}"{comma}))` makes one'


def check_params(
    model: Function | Model | Program, params: Mapping[str, Any], source: str = ""
) -> None:
    """Hold arrays against the parameters that a model has.

    Sizes must agree with those of a compiled function, or with each other for a model that is not
    compiled yet (`H` rows here and `H` columns there).

    Args:
        source: where the arrays come from, for the message.

    Raises:
        InputError: with all that is missing, unknown or of another shape.
    """
    declared = _declared(model)
    names = [v.name for v in declared.params]
    missing = [n for n in names if n not in params]
    sizes = _sizes(model, params)
    wrong = [f"{n} is missing: {_expected(declared.vars[n], sizes)}" for n in missing]
    wrong += misfits(model, params)
    wrong += [
        f"{n} is not one of its parameters{nearest(n, missing)}" for n in params if n not in names
    ]
    if wrong:
        head = f"{source}: these" if source else "these"
        lines = "".join(f"\n    {line}" for line in wrong)
        raise InputError(f"{head} are not the parameters of {declared.name}:{lines}")


def misfits(model: Function | Model | Program, params: Mapping[str, Any]) -> list[str]:
    """What is said of each array whose shape is not that of the parameter of its name."""
    wrong, sizes = [], _sizes(model, params)
    for v in _declared(model).params:
        if v.name in params and not _fits(v, shape := np.shape(params[v.name]), sizes):
            came = f"an array of shape {shape}" if shape else "a single number"
            wrong.append(f"{v.name}: expected {_expected(v, sizes)}, got {came}")
    return wrong


# --- shapes -----------------------------------------------------------------------------------


def _declared(model: Any) -> Program:
    """The program as it was written: of a function, a model, or itself."""
    declared: Program = getattr(model, "declared", None) or getattr(model, "program", model)
    return declared


def _sizes(model: Any, params: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a function was compiled for; those that the arrays tell, of a model."""
    compiler = getattr(model, "compiler", None)
    if compiler is not None:
        return dict(compiler.sizes)
    program = _declared(model)
    found = inferred_sizes(program, params, {})
    return {n: int(k) for n, k in found.items() if n in program.sizes}


def _expected(v: Var, sizes: Mapping[str, int]) -> str:
    dims = [str(d) for d in (*(a.hi - a.lo + 1 for a in v.axes), *v.shape)]
    used = {s for n in v.shape for s in n.symbols}
    known = ", ".join(f"{s} = {n}" for s, n in sizes.items() if s in used)
    text = str(v.type) + (f"[{', '.join(dims)}]" if dims else "")
    return f"{text} with {known}" if known else text


def _fits(v: Var, shape: tuple[int, ...], sizes: Mapping[str, int]) -> bool:
    """Whether the shape is that of the variable; lengths, known at a call only, may be any."""
    dims = [*((a.hi - a.lo + 1).subs(sizes) for a in v.axes), *(n.subs(sizes) for n in v.shape)]
    return len(dims) == len(shape) and all(
        d.symbols or d.constant == n for d, n in zip(dims, shape, strict=True)
    )


# --- one array, one value ---------------------------------------------------------------------


def _plain(name: str, value: Any) -> Array:
    """The array in one piece and in this machine's byte order."""
    array = np.asarray(value, order="C")
    if name == METADATA:
        raise InputError(f"no parameter can be called {METADATA}")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise InputError(f"{name}: expected an array of numbers, got one of {array.dtype}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _text(name: str, value: Any) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, (np.ndarray, np.generic)):
            return item.tolist()
        raise TypeError(f"{type(item).__name__} is no type of JSON")

    try:
        return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the metadata {name} cannot be written as JSON: {error}") from None


# --- npz --------------------------------------------------------------------------------------


def write_npz(file: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write arrays as an `.npz`. (Not `np.savez`, whose keywords could not be called `file`.)"""
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            # A fixed date: equal arrays give equal files.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, np.asarray(value), allow_pickle=False)


def _read_npz(file: IO[bytes]) -> Params:
    try:
        with np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise InputError(f"it is damaged, and cannot be read as an .npz: {error}") from None
    except ValueError as error:
        raise InputError(f"it cannot be read as an .npz of numbers: {error}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"it holds the file {name}, which is no array: not an .npz of numbers")
    text = arrays.pop(METADATA, None)
    if text is None:
        return Params(arrays)
    try:
        metadata = json.loads(str(text[()]))
        return Params(arrays, dict(metadata))
    except (TypeError, ValueError):
        raise InputError(f"its {METADATA} is not a JSON object") from None


# --- safetensors ------------------------------------------------------------------------------


def _safetensors(arrays: Mapping[str, Array], texts: Mapping[str, str]) -> bytes:
    from safetensors.numpy import save

    data: bytes = save(dict(arrays), metadata=dict(texts) or None)
    # The library writes metadata in an order of chance: equal parameters shall give equal files.
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    if METADATA in header:
        header[METADATA] = dict(sorted(header[METADATA].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _read_safetensors(data: bytes) -> Params:
    import safetensors

    deserialize: Any = safetensors.deserialize

    try:
        tensors = deserialize(data)
    except safetensors.SafetensorError as error:
        raise InputError(
            f"it is damaged, or of another kind, and cannot be read as a .safetensors: {error}"
        ) from None
    # The reader above has checked the header; it does not return the metadata.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = {name: _value(text) for name, text in header.get(METADATA, {}).items()}
    return Params({name: _tensor(name, t) for name, t in sorted(tensors)}, metadata)


def _value(text: str) -> Any:
    """A value of JSON; a string of another program, ``pt`` say, stands for itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip


def _tensor(name: str, tensor: Mapping[str, Any]) -> Array:
    kind, shape = tensor["dtype"], tensor["shape"]
    if kind == "BF16":
        # The upper half of a float32.
        high = np.frombuffer(tensor["data"], "<u2").astype("<u4") << 16
        return high.view("<f4").reshape(shape)
    if kind not in _DTYPES:
        raise InputError(f"{name} is of type {kind}, which NumPy does not have")
    array = np.frombuffer(tensor["data"], _DTYPES[kind]).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


__all__ = ["Params", "check_params", "load_params", "save_params", "write_npz"]
