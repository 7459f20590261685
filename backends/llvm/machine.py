"""The machine that code is made for, as LLVM sees it.

LLVM takes long to load, so what it says of this machine is kept for the next process, under what
the operating system says of the processor.
"""

from __future__ import annotations

import os
import platform
from functools import lru_cache

import llvmlite

from unfold import cache
from unfold.named import Named

#: Bytes of one number by the name of its type.
ITEMSIZE = {"float32": 4, "float64": 8, "int64": 8}
#: Bytes of a line of the caches.
LINE = 64

_PROCESSOR = "/proc/cpuinfo"
#: The lines of it that say which processor this is, and what it can do; others change meanwhile.
_TELLING = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags",
    "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision",
)  # fmt: skip


class HostTarget(Named):
    """What code generation needs to know of a machine.

    ``features`` is LLVM's list (``+avx2,-avx512f``), which is trusted; the name of the processor
    is not used, for virtual machines and new parts are often misnamed. ``vector_bytes`` is the
    width of a vector register (64 with AVX-512, 32 with AVX, 16 with SSE2 and NEON), ``registers``
    their number.
    """

    triple: str
    features: str
    vector_bytes: int
    registers: int

    def lanes(self, dtype: str) -> int:
        """How many numbers of the type ``float32``, ``float64`` or ``int64`` fill a register."""
        return self.vector_bytes // ITEMSIZE[dtype]

    def has(self, feature: str) -> bool:
        """Whether the machine has the named feature (LLVM's name, such as ``fma``)."""
        return f"+{feature}" in self.features.split(",")

    @property
    def scales(self) -> bool:
        """Whether one instruction multiplies by powers of two, also out of the normal numbers."""
        return self.has("avx512f") and self.has("avx512vl") and self.has("avx512dq")

    @property
    def masks(self) -> bool:
        """Whether some lanes of a vector of any type are read and written as fast as all."""
        return self.has("avx512f") and self.has("avx512vl") and self.has("avx512bw")

    def narrow(self, vector_bytes: int) -> HostTarget:
        """The same machine without its vectors wider than ``vector_bytes`` (16, 32 or 64).

        For tests: what is generated for it runs on this machine. ValueError for other widths.
        """
        if vector_bytes not in (16, 32, 64):
            raise ValueError(f"vectors have 16, 32 or 64 bytes, not {vector_bytes}")
        if vector_bytes >= self.vector_bytes:
            return self
        wide: tuple[str, ...] = ("avx512", "avx10", "evex512")
        if vector_bytes == 16:
            wide = ("avx", "fma", "f16c", "xop", "vaes", "vpclmulqdq", *wide)
        kept = [f"-{f[1:]}" if f[1:].startswith(wide) else f for f in self.features.split(",") if f]
        registers = 16 if self.triple.startswith("x86_64") else self.registers
        return self._replace(
            features=",".join(kept), vector_bytes=vector_bytes, registers=registers
        )


@lru_cache(maxsize=1)
def host() -> HostTarget:
    """The machine that runs this process."""
    said = processor()
    entry = None if said is None else cache.key("host", said, llvm_version())
    found: HostTarget = cache.remember(entry, _asked)
    return found


def llvm_version() -> str:
    """The version of the library that generates code."""
    return str(llvmlite.__version__)


def processor() -> str | None:
    """What the operating system says of the processor; ``None`` where it says too little."""
    try:
        with open(_PROCESSOR, encoding="utf-8") as file:
            block = file.read(2**14).partition("\n\n")[0]
    except OSError:
        return None
    fields = dict(line.partition(":")[::2] for line in block.splitlines())
    told = {name.strip(): value.strip() for name, value in fields.items()}
    if not told.get("flags") and not told.get("Features"):
        return None
    lines = [f"{name}: {told[name]}" for name in _TELLING if name in told]
    return "\n".join([platform.machine(), os.uname().release, *lines])


def _asked() -> HostTarget:
    """What LLVM says."""
    from .jit import described

    triple, features = described()
    text = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items()))
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"):
        return HostTarget(triple, text, 64, 32)
    if features.get("avx2"):
        return HostTarget(triple, text, 32, 16)
    return HostTarget(triple, text, 16, 16 if triple.startswith("x86_64") else 32)


__all__ = ["ITEMSIZE", "LINE", "HostTarget", "host", "llvm_version", "processor"]
