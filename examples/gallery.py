"""Writes `README.md` beside it: every system, from the comments and equations of its `.rec` file,
and the drawings in `pictures/`.

    python examples/gallery.py

A file opens with a comment that says what the system is and which paper it is from; the last
paragraph of the comment, `# Try: …`, says what to do with it.
"""

from __future__ import annotations

from pathlib import Path

import unfold

HERE = Path(__file__).parent

#: How many steps a drawing shows: 3, but for those that have to be longer, and those of many nodes.
STEPS = {"rna_folding": 6, "matrix_chain": 4, "cyk": 4}
MANY = 60

#: heading -> the files under it, in the order in which they are best read
GROUPS: dict[str, tuple[str, ...]] = {
    "Recurrent networks": (
        "elman", "jordan", "lstm", "gru", "residual_skip", "birnn", "stacked_bigru", "deep_stack",
        "leaky_integrators", "echo_state", "multitask", "charlm", "charlm_sample", "sunspots",
    ),
    "Attention and memory": (
        "causal_attention", "cross_attention", "seq2seq_attention", "transformer_block", "ntm",
        "memory_reader", "hopfield",
    ),
    "State spaces, fast weights and other recent cells": (
        "mamba", "rwkv", "slstm", "mlstm", "min_gru", "lru", "griffin", "hippo", "hyena",
        "delta_net", "titans", "liquid", "spiking",
    ),
    "Equilibria and optimisation": (
        "deq", "implicit_euler", "value_iteration", "sinkhorn", "learned_optimiser",
    ),
    "Continuous time": (
        "neural_ode", "hybrid_jump", "neural_cde", "kinetics", "lotka_volterra",
        "pharmacokinetics", "neuron",
    ),
    "Probability": (
        "hmm", "kalman", "smoother", "ctc", "poisson_spikes", "hawkes", "garch",
        "knowledge_tracing",
    ),
    "Dynamic programmes": (
        "viterbi", "soft_edit_distance", "matrix_chain", "rna_folding", "cyk",
    ),
    "Systems, control and learning by reward": (
        "inventory", "queue", "pendulum_control", "epidemic", "td_lambda", "advantage",
    ),
}  # fmt: skip

HEAD = """\
# Gallery

<!-- Written by `python examples/gallery.py` from the .rec files: edit those. -->

Each file is a whole system: its equations and nothing else. All of them are compiled by both
backends, hold their reference values, and have their gradients checked by the tests. For any one:

```sh
unfold show FILE.rec --adjoint               # its gradient, as equations
unfold show FILE.rec --format latex          # for a paper
unfold graph FILE.rec --steps 4 -o FILE.svg  # the unrolled graph; with --adjoint, the way back
unfold grad-check FILE.rec                   # gradients against differences, on both backends
```
"""


def parts(text: str) -> tuple[str, str, str]:
    """What a file says of itself, what it says to try, and its equations."""
    lines = text.splitlines()
    end = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    comment = " ".join(line.removeprefix("#").strip() for line in lines[:end])
    about, _, tried = comment.partition(" Try: ")
    return about, tried, "\n".join(lines[end:]).strip()


def unlisted() -> list[str]:
    """The files that no group names."""
    listed = {name for names in GROUPS.values() for name in names}
    return sorted(p.stem for p in HERE.glob("*.rec") if p.stem not in listed)


def gallery() -> str:
    """The text of the page."""
    groups = dict(GROUPS)
    if unlisted():
        groups["More"] = tuple(unlisted())
    contents, body = [], []
    for heading, names in groups.items():
        links = " · ".join(f"[{name}](#{name})" for name in names)
        contents.append(f"- {heading}: {links}")
        body.append(f"## {heading}\n")
        for name in names:
            about, tried, equations = parts((HERE / f"{name}.rec").read_text(encoding="utf-8"))
            body.append(f"### {name}\n\n{about}\n\n```rec\n{equations}\n```\n")
            body.append(f"![{name}, unrolled]({picture(name).relative_to(HERE).as_posix()})\n")
            if tried:
                body.append(f"Try: {tried}\n")
    return "\n".join([HEAD, *contents, "", *body]).rstrip() + "\n"


def picture(name: str) -> Path:
    """Where the drawing of a system is."""
    return HERE / "pictures" / f"{name}.svg"


def graph(name: str) -> unfold.Graph:
    """What is drawn of a system: a few steps, all lengths alike."""
    model = unfold.load(HERE / f"{name}.rec")

    def at(steps: int) -> unfold.Graph:
        least = model.program.minimum
        lengths = {n: max(steps, least.get(n, 1)) for n in model.program.lengths}
        return model.unfold(lengths.pop("T", steps), "equation", **lengths)

    found = at(STEPS.get(name, 3))
    return at(2) if len(found) > MANY and name not in STEPS else found


def draw() -> None:
    """Draw every system."""
    for path in sorted(HERE.glob("*.rec")):
        graph(path.stem).draw(picture(path.stem))


if __name__ == "__main__":
    draw()
    (HERE / "README.md").write_text(gallery(), encoding="utf-8")
