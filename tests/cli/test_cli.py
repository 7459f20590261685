"""The commands: what they print, where, and their exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.cli import main
from unfold.cli.common import write_arrays

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ELMAN = str(EXAMPLES / "elman.rec")
INVENTORY = str(EXAMPLES / "inventory.rec")
SIZES = {"D": 3, "H": 4, "K": 2}
SIZE_ARGS = [arg for name, n in SIZES.items() for arg in ("--size", f"{name}={n}")]

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unfold", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    fn = unfold.compile(ELMAN, backend="numpy", sizes=SIZES)
    data = {"x": random.normal(size=(5, 3)), "c": random.integers(0, 2, 5)}
    params = fn.init(seed=3)
    write_arrays(str(tmp_path / "data.npz"), data)
    write_arrays(str(tmp_path / "params.npz"), params)
    return {"fn": fn, "data": data, "params": params}


# --- what a program would read ---------------------------------------------------------------


def test_show_tells_variables_and_equations_apart(run: Run) -> None:
    status, out, _ = run("show", ELMAN, "--adjoint", "--json")
    told = json.loads(out)
    assert status == 0
    program = unfold.load(ELMAN).adjoint().program
    assert [v["name"] for v in told["variables"]] == list(program.vars)
    assert told["text"] == str(unfold.load(ELMAN).adjoint())
    assert {"name": "y", "text": "y[t] = W_hy @ h[t] + b_y"} in told["equations"]
    assert [v["name"] for v in told["variables"] if v["adjoint_of"] == "W_hh"] == ["W_hh_bar"]
    assert run("show", ELMAN, "--json", "--after", "plan")[0] == 2


def test_graph_tells_nodes_and_edges(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("graph", ELMAN, "--steps", 3, "--json", "-o", tmp_path / "g.svg")
    told = json.loads(out)
    graph = unfold.load(ELMAN).unfold(3).networkx
    assert (status, told["lengths"]) == (0, {"T": 3})
    assert {n["name"]: n["role"] for n in told["nodes"]} == dict(graph.nodes(data="role"))
    assert {(e["from"], e["to"]) for e in told["edges"]} == set(graph.edges)
    assert (tmp_path / "g.svg").exists()
    assert run("graph", ELMAN, "--json", "--rolled")[0] == 2
    assert "give -o OUT, the file to draw to, or --json" in run("graph", ELMAN)[2]


def test_view_tells_where_the_page_is(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("view", ELMAN, "--no-open", "--json", "-o", tmp_path / "v.html")
    told = json.loads(out)
    assert (status, told["page"]) == (0, str(tmp_path / "v.html"))
    assert "Sizes were not given" in told["chosen"][0]


# --- check and explain ------------------------------------------------------------------------

WRONG = "model m(D):\n    input x[t]: real[D]\n    y[t] = q[t] + z[t]\n    output y[t]\n"


def test_check_is_silent_about_nothing_and_ends_with_0(run: Run) -> None:
    assert run("check", ELMAN) == (0, f"{ELMAN}: no mistakes\n", "")


def test_check_reports_every_mistake_on_standard_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wrong.rec"
    path.write_text(WRONG)
    status, out, err = run("check", path)
    assert (status, out) == (1, "")
    assert err.count("error[") == 2
    assert f"{path}:3:12" in err
    assert err.endswith(f"{path}: 2 mistakes\n") or "warning" in err


def test_check_reads_standard_input(run: Run) -> None:
    status, _, err = run("check", "-", stdin=WRONG)
    assert status == 1
    assert "<stdin>:3:12" in err


def test_check_gives_plain_data_as_json(run: Run) -> None:
    status, out, err = run("check", "--json", "-", stdin=WRONG)
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert [d["severity"] for d in found].count("error") == 2
    assert found[0]["labels"][0]["start"]["line"] == 3


def test_warnings_fail_only_when_asked(run: Run) -> None:
    text = (
        "model m:\n    input x[t]: real\n    param W: real = 1\n    y[t] = x[t]\n    output y[t]\n"
    )
    status, out, err = run("check", "-", stdin=text)
    assert (status, out) == (0, "-: 1 warning\n")
    assert "warning[" in err
    assert run("check", "--strict", "-", stdin=text)[0] == 1


def test_explain_tells_more_about_a_code(run: Run) -> None:
    status, out, _ = run("explain", "e0301")
    assert status == 0
    assert out.startswith("E0301: ")
    assert "This is wrong:" in out
    status, _, said = run("explain", "E9999")
    assert (status, said.splitlines()[-1]) == (
        2, "Error: there is neither a diagnostic nor a function E9999; did you mean E0722 or E0721?"
    )  # fmt: skip
    assert "a code stands in front of what `unfold check` says" in run("explain", "shapes")[2]
    status, out, _ = run("explain", "pad")
    assert status == 0
    assert "pad(v, before, after, axis = 0)" in out
    assert run("explain", "tanh")[1] == "tanh(x)\n\n    of each component\n"
    assert "softmax[s <= t]" in run("explain", "softmax")[1]
    assert "did you mean logsumexp?" in run("explain", "logsumex")[2]


# --- show and graph ---------------------------------------------------------------------------


def test_show_prints_a_program_that_can_be_read_again(run: Run) -> None:
    status, out, _ = run("show", ELMAN)
    assert status == 0
    assert run("show", "-", stdin=out)[1] == out


def test_show_adjoint_is_what_the_api_prints(run: Run) -> None:
    _, out, _ = run("show", ELMAN, "--adjoint", "--wrt", "h,W_hh")
    assert out == str(unfold.load(ELMAN).adjoint(wrt=["h", "W_hh"]))


def test_show_writes_latex(run: Run) -> None:
    _, out, _ = run("show", ELMAN, "--adjoint", "--format", "latex")
    assert out.startswith("\\begin{align*}")
    assert out.rstrip().endswith("\\end{align*}")


@pytest.mark.parametrize(
    ("stage", "sign"),
    [
        ("parse", "File\n"),
        ("check", "model inventory:"),
        ("adjoint", "h_bar"),
        ("tangent", "h0_dot"),
        ("simplify", "model inventory:"),
        ("plan", "for each sequence:"),
        ("llvm", "define"),
        ("asm", ".text"),
    ],
)
def test_show_prints_every_stage(run: Run, stage: str, sign: str) -> None:
    status, out, err = run("show", INVENTORY, "--after", stage)
    assert (status, err) == (0, "")
    assert sign in out


def test_stages_that_need_sizes_ask_for_them(run: Run) -> None:
    status, _, err = run("show", ELMAN, "--after", "plan", "--size", "D=3")
    assert status == 1
    assert (
        err
        == "error: elman needs the sizes H and K: compile(…, H=…, K=…), or --size in the shell\n"
    )


@pytest.mark.parametrize("suffix", ["svg", "dot"])
def test_graph_draws(run: Run, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"g.{suffix}"
    assert run("graph", INVENTORY, "--steps", 3, "--adjoint", "-o", out)[0] == 0
    assert out.stat().st_size > 0
    status, _, err = run("graph", INVENTORY, "-o", tmp_path / "g.txt")
    assert status == 2
    assert "the suffix says what to draw, .svg, .pdf, .png, .dot" in err


def test_graph_draws_the_cuts_of_a_truncation(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "g.dot"
    options = ["--steps", 12, "--truncate", "window:4", "--columns", 13]
    assert run("graph", ELMAN, *options, "-o", out)[0] == 0
    text = out.read_text(encoding="utf-8")
    assert all(f'"cut h[{t}] h[{t + 1}]"' in text for t in (4, 8))
    assert text.count('"cut h[') == 2
    assert run("graph", ELMAN, "--truncate", "horizon:2", "--adjoint", "-o", out)[0] == 0
    assert '"cut h_past_bar[4,1] h_bar[2]"' in out.read_text(encoding="utf-8")
    for wrong in ("window", "window:0", "past:3"):
        status, _, err = run("graph", ELMAN, "--truncate", wrong, "-o", out)
        assert status == 2
        assert f"`{wrong}` is neither window:STEPS nor horizon:STEPS" in err
    status, _, err = run(
        "graph", str(EXAMPLES / "causal_attention.rec"), "--truncate", "window:2", "-o", out
    )
    assert status == 1
    assert "no recurrence over t to truncate" in err


# --- run and grad -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_run_and_grad_compute_what_the_api_computes(
    run: Run, tmp_path: Path, arrays: dict[str, Any], backend: str
) -> None:
    files = ["--data", tmp_path / "data.npz", "--params", tmp_path / "params.npz"]
    out, grads = tmp_path / "out.npz", tmp_path / "grads.npz"
    status, said, err = run("run", ELMAN, *files, "-o", out, "--backend", backend)
    assert (status, err) == (0, "")
    assert f"wrote {out}" in said
    expected = arrays["fn"](arrays["params"], arrays["data"])
    with np.load(out) as file:
        assert set(file.files) == set(expected)
        np.testing.assert_allclose(file["y"], expected.y, rtol=1e-12)
    status, said, err = run("grad", ELMAN, *files, "-o", grads, "--backend", backend)
    assert (status, err) == (0, "")
    loss, expected_grads = arrays["fn"].value_and_grad(arrays["params"], arrays["data"])
    assert said.startswith(f"loss {loss:.12g}"[:14])
    with np.load(grads) as file:
        assert set(file.files) == set(arrays["params"])
        for name in file.files:
            np.testing.assert_allclose(file[name], expected_grads[name], atol=1e-13)


def test_parameters_come_in_both_kinds_of_files(
    run: Run, arrays: dict[str, Any], tmp_path: Path
) -> None:
    unfold.save_params(tmp_path / "params.safetensors", arrays["params"], model="elman")
    data = ["--data", tmp_path / "data.npz", "--params"]
    for command in ("run", "grad", "grad-check"):
        shown = [
            run(command, ELMAN, *SIZE_ARGS, *data, tmp_path / name)
            for name in ("params.npz", "params.safetensors")
        ]
        assert shown[0] == shown[1]
        assert shown[0][0] == 0
    grads = tmp_path / "grads.safetensors"
    run("grad", ELMAN, *data, tmp_path / "params.npz", "-o", grads)
    _, expected = arrays["fn"].value_and_grad(arrays["params"], arrays["data"])
    for name, array in unfold.load_params(grads).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12)


def test_run_starts_from_initial_parameters_when_none_are_given(
    run: Run, tmp_path: Path, arrays: dict[str, Any]
) -> None:
    data = tmp_path / "data.npz"
    status, _, err = run("run", ELMAN, "--data", data)
    assert (status, err) == (
        1,
        "error: elman needs the sizes H and K: compile(…, H=…, K=…), or --size in the shell\n",
    )
    status, out, err = run(
        "run", ELMAN, "--data", data, "--size", "H=4", "--size", "K=2", "--seed", 3, "--json"
    )
    assert (status, err) == (0, "parameters were not given: initial ones, seed 3\n")
    expected = arrays["fn"](arrays["params"], arrays["data"])
    np.testing.assert_allclose(json.loads(out)["y"], expected.y, rtol=1e-12)


def test_grad_of_inputs_and_of_a_padded_batch(
    run: Run, tmp_path: Path, arrays: dict[str, Any]
) -> None:
    random = np.random.default_rng(1)
    data = {
        "x": random.normal(size=(2, 5, 3)),
        "c": random.integers(0, 2, (2, 5)),
        "lengths": np.array([5, 2]),
    }
    write_arrays(str(tmp_path / "batch.npz"), data)
    status, out, _ = run(
        "grad", ELMAN, "--data", tmp_path / "batch.npz", "--params", tmp_path / "params.npz",
        "--wrt", "x", "--wrt", "b_h", "--reduce", "sum", "--json",
    )  # fmt: skip
    assert status == 0
    found = json.loads(out)
    loss, grads = arrays["fn"].value_and_grad(
        arrays["params"], wrt=["x", "b_h"], reduce="sum", **data
    )
    assert list(found["grads"]) == ["x", "b_h"]
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-12)
    np.testing.assert_allclose(found["grads"]["x"], grads["x"], atol=1e-13)


def test_wrong_data_end_with_1_and_leave_no_file(
    run: Run, tmp_path: Path, arrays: dict[str, Any]
) -> None:
    np.savez(tmp_path / "bad.npz", x=np.ones((5, 3)), c=np.array([0, 1, 2, 0, 0]))
    out = tmp_path / "out.npz"
    status, _, err = run(
        "run", ELMAN, "--data", tmp_path / "bad.npz", "--params", tmp_path / "params.npz", "-o", out
    )
    assert (status, err) == (
        1,
        "error: c[2] is 2, but c is int<K>[T] with K = 2: its values lie in 0..1\n",
    )
    (tmp_path / "text.npz").write_text("no arrays")
    status, _, err = run("run", ELMAN, "--data", tmp_path / "text.npz")
    assert status == 1
    assert "text.npz" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "bad.npz", "data.npz", "params.npz", "text.npz"
    ]  # fmt: skip


def test_the_command_line_itself_may_be_wrong(run: Run, tmp_path: Path) -> None:
    for args in (
        ["run", tmp_path / "none.rec"],
        ["show"],
        ["show", ELMAN, "--after", "nothing"],
        ["show", ELMAN, "--size", "H"],
        ["dance"],
        ["run", INVENTORY, "--data", tmp_path / "none.npz"],
        ["show", ELMAN, "--after", "check", "--format", "latex"],
    ):
        status, out, err = run(*args)
        assert (status, out) == (2, ""), args
        assert "Error:" in err


def test_an_array_of_another_name_is_told_before_the_sizes_that_it_does_not_tell(
    run: Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", X=np.ones((4, 2)), y=np.ones((4, 3)))
    status, _, err = run("run", ELMAN, "--data", tmp_path / "d.npz")
    assert status == 1
    assert "elman has no input X; did you mean `x`?" in err


def test_unknown_names_end_with_1(run: Run) -> None:
    for args, said in (
        (["show", ELMAN, "--adjoint", "--wrt", "q"], "q is not a real input"),
        (["show", ELMAN, "--model", "q"], "has no model q; there are elman"),
        (["graph", ELMAN, "--size", "S=3", "-o", "x.svg"], "elman has no length S, only T"),
        (["graph", ELMAN, "--size", "H=0", "-o", "x.svg"], "H is a size: expected a positive"),
    ):
        status, _, err = run(*args)
        assert status == 1, args
        assert said in err


# --- grad-check -------------------------------------------------------------------------------


def test_grad_check_compares_both_backends_with_differences(run: Run) -> None:
    status, out, _ = run("grad-check", ELMAN, "--size", "H=3", "--size", "T=4")
    assert status == 0
    assert "H = 3" in out
    assert "T = 4" in out
    assert "numpy - differences" in out
    assert "WRONG" not in out
    status, out, _ = run("grad-check", INVENTORY, "--json")
    found = json.loads(out)
    assert found["ok"]
    assert {a["name"] for a in found["arrays"]} == {"x", "d", "h0", "order_cost", "hold"}


def test_grad_check_ends_with_1_when_a_gradient_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = unfold.Function.value_and_grad

    def wrong(self: unfold.Function, *args: Any, **options: Any) -> Any:
        value, grads = honest(self, *args, **options)
        return value, {**grads, "hold": grads["hold"] * 1.001}

    monkeypatch.setattr(unfold.Function, "value_and_grad", wrong)
    status, out, err = run("grad-check", INVENTORY)
    assert status == 1
    assert out.count("WRONG") == 1
    assert "do not agree" in err


# --- the script -------------------------------------------------------------------------------


def script(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unfold.cli", *args],
        capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip


def test_the_script_runs_anywhere_without_colours_in_a_pipe(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = script("check", "-", input=WRONG, cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert script("--version", cwd=tmp_path, env=env).stdout == (
        f"unfold, version {unfold.__version__}\n"
    )


# --- cost and bench ---------------------------------------------------------------------------


def test_cost_tells_the_bill_without_running(run: Run) -> None:
    status, out, err = run("cost", INVENTORY, "--steps", 50, "--batch", 4, "--dtype", "float32")
    assert (status, err) == (0, "")
    first, second, *rows = out.splitlines()
    assert first == "inventory at T = 50, batch 4, float32"
    assert second == "3 parameters"
    table = rows[2 : rows.index("", 2)]
    assert [r.strip().split("  ")[0] for r in table] == [
        "floating-point operations", "of them backward", "special functions", "of them backward",
        "bytes in", "bytes out", "stored for the way back", "operations per byte",
    ]  # fmt: skip
    assert rows[rows.index("", 2) + 1].startswith("memory of a gradient")


def test_cost_as_data(run: Run) -> None:
    status, out, _ = run("cost", ELMAN, *SIZE_ARGS, "--steps", 10, "--json")
    bill = json.loads(out)
    assert status == 0
    assert bill["lengths"] == {"T": 10}
    assert bill["gradient"]["work"]["flops"] > bill["forward"]["work"]["flops"] > 0


def test_cost_of_a_size_that_is_missing(run: Run) -> None:
    status, out, err = run("cost", ELMAN, "--size", "D=3", "--size", "H=4")
    assert (status, out) == (1, "")
    assert "needs the size K" in err


def test_bench_sets_times_beside_the_machine(run: Run) -> None:
    status, out, _ = run("bench", INVENTORY, "--steps", 20, "--json")
    found = json.loads(out)
    assert status == 0
    for side in (found["value"], found["gradient"]):
        assert side["seconds"] > 0
        assert side["bound"] in ("memory", "arithmetic")
        assert side["flops"] == pytest.approx(side["side"]["work"]["flops"] / side["seconds"])
        assert 0 < side["share"] == pytest.approx(side["flops"] / found["peak_flops"])
    status, out, _ = run("bench", INVENTORY, "--steps", 20)
    assert status == 0
    assert "value and gradient" in out


@pytest.mark.parametrize("command", ["run", "grad"])
def test_what_is_not_finite_is_null_in_json(run: Run, tmp_path: Path, command: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    model, data = tmp_path / "m.rec", tmp_path / "data.npz"
    model.write_text(
        "model m:\n    input x[t]: real\n    param a: real = 1\n    y[t] = a * x[t]\n"
        "    output y[t]\n    minimize sum[t](y[t])\n"
    )
    np.savez(data, x=np.array([1.0, np.nan, np.inf]))
    status, out, _ = run(command, model, "--data", data, "--json")
    found = json.loads(out, parse_constant=refuse)
    assert status == 0
    assert found["loss" if command == "grad" else "y"] == (
        None if command == "grad" else [1.0, None, None]
    )


def test_arrays_are_written_to_files_that_are_called_so(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.zeros(3), d=np.zeros(3))
    out = tmp_path / "out.csv"
    status, _, err = run("run", INVENTORY, "--data", tmp_path / "in.npz", "-o", out)
    assert status == 2
    assert "out.csv: arrays are written to an .npz or a .safetensors" in err
    assert not out.exists()
