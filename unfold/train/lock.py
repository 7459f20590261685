"""One process at a time in a folder: a lock of the operating system's, which ends with its process.

The file `lock` in the folder is locked, and says who holds it. A process that is killed, even by
`kill -9`, loses its lock with its last breath, while what it wrote stays: so the next one knows
that a run ended without a word, and goes on from what was saved.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any

from ..errors import InputError

NAME = "lock"
#: Windows locks bytes, and nobody else may read them: one far behind what is written.
_FAR = 1 << 30
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Lock:
    """The lock of a folder, held until `release`.

    Attributes:
        left_by: who held it before and did not release it, in words; ``None`` if nobody.

    Raises:
        InputError: another process, or another run of this one, holds it; it says who.
    """

    left_by: str | None = None

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file: IO[bytes] | None = open(self.path, "a+b")  # noqa: SIM115 - see `release`
        try:
            _take(self._file)
        except OSError as error:
            holder = self._said()
            self._file.close()
            self._file = None
            if error.errno not in _TAKEN:
                return  # a file system without locks: as good as none
            raise InputError(
                f"{folder} is in use: {holder or 'another process'} trains into it; wait until it "
                "is done, end it, or take another folder"
            ) from None
        self.left_by = self._said()
        own = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        self._write(json.dumps(own).encode())

    def _said(self) -> str | None:
        """Who is written in the file."""
        assert self._file is not None
        self._file.seek(0)
        try:
            found: Any = json.loads(self._file.read() or b"null")
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["since"]))
            return f"process {found['pid']} on {found['host']}, since {since},"
        except (ValueError, TypeError, KeyError, OSError):
            return None

    def _write(self, text: bytes) -> None:
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    def release(self) -> None:
        """Let others in. The file stays: to remove it would let two of them in at once."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._write(b"")
            self._file.close()
            self._file = None


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _take(file: IO[bytes]) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


__all__ = ["Lock"]
