"""What was compiled, kept on disk for the next process.

A folder holds one file for each result, named by a digest of all that the result depends on. The
folder is the platform's place for caches; the environment variable ``UNFOLD_CACHE`` names another
one, or is ``off``. Nothing that can go wrong here is an error: what cannot be read is made again,
and where nothing can be written nothing is kept.

What is compiled is written when its result is there (`unfold.postponed`), at the latest when the
process ends.

What is guaranteed. An entry is used only if it is whole (it carries a checksum of its content and
of its key) and was made by the same sources of this package, the same Python and NumPy. Its
content is machine code and pickled objects, so whoever can write an entry could run code; therefore
the folder must belong to the user alone: another owner, or a folder or file that others may write,
and it is not used. Entries appear at once and whole (written beside, then renamed), so processes
may share a folder and may be killed at any time. When the folder is looked through, which is about
once in `LIMIT` / 16 bytes that are written, those above `LIMIT` that were not used for longest are
removed.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .collecting import uncollected
from .digest import digest
from .postponed import Postponed

T = TypeVar("T")

VARIABLE = "UNFOLD_CACHE"
#: Bytes that all entries together may have.
LIMIT = 2**28
_MAGIC = b"unfold cache 1\n"
_SUFFIX, _UNFINISHED = ".entry", ".part"
#: What `remember` has yet to write.
_WRITING = Postponed()
#: Seconds after which a file that was never finished is somebody's remains.
_STALE = 600.0


# --- entries ----------------------------------------------------------------------------------


def key(*parts: Any) -> str | None:
    """The name of an entry that depends on ``parts`` and on this very compiler.

    ``None`` if nothing is cached, or not this: parts without a digest (see `unfold.digest`).
    """
    if folder() is None or (made_by := version()) is None:
        return None
    try:
        return digest(made_by, parts)
    except (TypeError, RecursionError):
        return None


def remember(name: str | None, make: Callable[[], T], known: Mapping[str, Any] | None = None) -> T:
    """The entry of that name, or what ``make`` returns, which becomes the entry.

    It is written a moment later, when nobody waits for it (see `settle`), and so must not change.

    Args:
        name: from `key`.
        make: may raise; then nothing is kept.
        known: objects that the reader has as well: the entry refers to them by these names.
    """
    found = get(name, known)
    if found is None:
        with _WRITING.busy():
            found = make()
        place = folder()
        if name is not None and place is not None:
            _WRITING.add(f"{place}/{name}", partial(_write, place, name, found, known))
    return found


def later(name: str, write: Callable[[], object]) -> None:
    """Have something written a moment later, when nobody waits for it; under a name of its own."""
    _WRITING.add(name, write)


def settle() -> None:
    """Write now what waits for its moment."""
    _WRITING.settle()


def get(name: str | None, known: Mapping[str, Any] | None = None) -> Any:
    """The value of an entry; ``None`` if there is none that can be trusted."""
    place = folder()
    if name is None or place is None:
        return None
    if f"{place}/{name}" in _WRITING:
        settle()
    path = place / f"{name}{_SUFFIX}"
    try:
        content = _read(path)
        head = len(_MAGIC) + hashlib.sha256().digest_size
        body = memoryview(content)[head:]
        if content[:head] != _MAGIC + _checksum(name, body):
            return None
        with uncollected():
            value = _Reader(io.BytesIO(body), known or {}).load()
        os.utime(path)
    except Exception:
        # An entry is never needed: whatever is wrong with it, there is a way to do without.
        return None
    return value


def put(name: str | None, value: Any, known: Mapping[str, Any] | None = None) -> None:
    """Keep a value, which is not ``None``, if that can be."""
    place = folder()
    if name is not None and place is not None:
        _write(place, name, value, known)


def _write(place: Path, name: str, value: Any, known: Mapping[str, Any] | None) -> None:
    stream = io.BytesIO()
    try:
        _Writer(stream, known or {}).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return
    body = stream.getbuffer()
    with suppress(OSError):
        handle, part = tempfile.mkstemp(_UNFINISHED, dir=place)
        try:
            with open(handle, "wb") as file:
                file.write(_MAGIC + _checksum(name, body))
                file.write(body)
            os.replace(part, place / f"{name}{_SUFFIX}")
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        if _is_looking(name, len(body)):
            _shrink(place)


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, known: Mapping[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self.names = {id(value): name for name, value in known.items()}

    def persistent_id(self, value: Any) -> str | None:
        return self.names.get(id(value))


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, known: Mapping[str, Any]) -> None:
        super().__init__(file)
        self.known = known

    def persistent_load(self, name: str) -> Any:
        return self.known[name]


def _checksum(name: str, body: memoryview) -> bytes:
    hashed = hashlib.sha256(name.encode())
    hashed.update(body)
    return hashed.digest()


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not _is_ours(os.fstat(handle)):
            raise PermissionError(path)
        return file.read()


# --- the folder -------------------------------------------------------------------------------


def folder() -> Path | None:
    """Where the entries are; ``None`` if there is no place, or the cache is off."""
    return _prepared(os.environ.get(VARIABLE))


@lru_cache(maxsize=8)
def _prepared(stated: str | None) -> Path | None:
    if stated is not None and stated.lower() in ("", "0", "off", "none"):
        return None
    if stated is None:
        import platformdirs

        place = Path(platformdirs.user_cache_dir("unfold", appauthor=False))
    else:
        place = Path(stated).expanduser().absolute()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place if _is_ours(os.stat(place)) else None
    except (OSError, RuntimeError):
        return None


def _is_ours(status: os.stat_result) -> bool:
    """Whether only this user can have written a file or folder. (On Windows the user's folders
    see to that.)"""
    if sys.platform == "win32":
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _files(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Whatever the cache has written to its folder."""
    with suppress(OSError), os.scandir(place) as found:
        for entry in found:
            if entry.name.endswith((_SUFFIX, _UNFINISHED)):
                with suppress(OSError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _is_looking(name: str, size: int) -> bool:
    """Whether the writer of an entry looks through the folder, which takes longer the more there
    is. Nobody counts what is written: a name is a digest, so it decides as a die would, with the
    chance that makes one look in `LIMIT` / 16 bytes."""
    return int(name[:8], 16) * LIMIT < 16 * size * 2**32


def _shrink(place: Path) -> None:
    """Remove what was not used for longest, and what was never finished."""
    now = time.time()
    kept = []
    for path, status in _files(place):
        if path.suffix == _SUFFIX:
            kept.append((status.st_mtime, status.st_size, path))
        elif now - status.st_mtime > _STALE:
            with suppress(OSError):
                path.unlink()
    total = sum(size for _, size, _ in kept)
    if total <= LIMIT:
        return
    for _, size, path in sorted(kept):
        if total <= LIMIT * 3 // 4:
            break
        with suppress(OSError):
            path.unlink()
            total -= size


@dataclass(frozen=True)
class Info:
    """The cache's folder (``None``: off or unusable), its number of entries and their bytes."""

    folder: Path | None
    entries: int
    size: int


def info() -> Info:
    """What is kept."""
    settle()
    place = folder()
    found = [s.st_size for p, s in _files(place) if p.suffix == _SUFFIX] if place else []
    return Info(place, len(found), sum(found))


def clear() -> int:
    """Remove every entry; how many there were."""
    settle()
    place, count = folder(), 0
    for path, _ in _files(place) if place else ():
        with suppress(OSError):
            path.unlink()
            count += path.suffix == _SUFFIX
    return count


# --- who made an entry ------------------------------------------------------------------------


@lru_cache(maxsize=1)
def version() -> str | None:
    """A digest of this compiler: its files by size and date, Python and NumPy."""
    roots: list[str] = []
    for package in ("unfold", "unfold.backends", "unfold.grammar"):
        spec = find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            # In an installed package the other two lie inside the first.
            if not any(root.startswith(other + os.sep) for other in roots):
                roots.append(root)
    try:
        files = [found for root in roots for found in _sources(root, len(root))]
    except OSError:
        return None  # an archive, say: its files have no dates
    # One text: there are hundreds of them, and this is done in every process.
    return digest("\n".join(sorted(files)), sys.version, sys.platform, np.__version__)


def _sources(root: str, prefix: int) -> Iterator[str]:
    """A line for each file: its path, size and date."""
    with os.scandir(root) as found:
        for entry in found:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _sources(entry.path, prefix)
            else:
                status = entry.stat()
                yield f"{entry.path[prefix:]!r} {status.st_size} {status.st_mtime_ns}"
