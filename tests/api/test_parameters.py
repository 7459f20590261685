"""Parameters in files: what is written is read, and what cannot be read is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import unfold
from unfold.parameters import check_params

TORCH = Path(__file__).parent.parent / "data" / "torch"
KINDS = ["npz", "safetensors"]
TEXT = """
from cells use gru
model m(D, H):
    input x[t]: real[D]
    input y[t]: real
    param v: real[H] ~ normal(1)
    enc = gru(x, H)
    loss = mean[t]((v @ enc.h[t] - y[t]) ** 2)
    minimize loss
"""

arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
names = st.from_regex(r"[a-z][a-z0-9]{0,3}(\.[A-Z]{1,2}){0,2}", fullmatch=True)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params")


@pytest.mark.parametrize("kind", KINDS)
@given(
    params=st.dictionaries(names, arrays, max_size=4),
    metadata=st.dictionaries(st.sampled_from(["model", "sizes", "ünï", "path"]), values),
)
def test_what_is_written_is_read(
    folder: Path, kind: str, params: dict[str, Any], metadata: dict[str, Any]
) -> None:
    path = folder / f"any.{kind}"
    unfold.save_params(path, params, **metadata)
    found = unfold.load_params(path)
    assert found.metadata == metadata
    assert set(found) == set(params)
    for name, array in params.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_memory_and_of_bytes_does_not_matter(tmp_path: Path, kind: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    given_ = {"a": array.T, "b": array[:, ::2], "c": array.astype(">f4"), "d": 2.5}
    unfold.save_params(tmp_path / f"p.{kind}", given_)
    found = unfold.load_params(tmp_path / f"p.{kind}")
    for name, value in given_.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].flags.writeable


@pytest.mark.parametrize("kind", KINDS)
def test_equal_parameters_make_equal_files_and_metadata_stays(tmp_path: Path, kind: str) -> None:
    fn = unfold.compile(TEXT, D=2, H=3)
    unfold.save_params(tmp_path / f"a.{kind}", fn.init(), model="m", sizes={"D": 2})
    again = unfold.load_params(tmp_path / f"a.{kind}", fn)
    unfold.save_params(tmp_path / f"b.{kind}", again)
    unfold.save_params(tmp_path / f"c.{kind}", again, model="n")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert unfold.load_params(tmp_path / f"c.{kind}").metadata == {"model": "n", "sizes": {"D": 2}}


def test_files_of_pytorch_are_read() -> None:
    found = unfold.load_params(TORCH / "modules.safetensors")
    assert found.metadata == {"format": "pt"}
    assert found["lstm.one.weight_ih_l0"].shape == (16, 3)
    types = unfold.load_params(TORCH / "types.safetensors")
    assert types["w"].dtype == np.float32
    assert types["w"].tolist() == [[1.5, -2.0]]
    assert types["n"].shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_or_altered_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"p.{kind}"
    unfold.save_params(path, {"W": np.arange(50.0)}, model="m")
    whole = path.read_bytes()
    for cut in (0, 1, 7, 9, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(unfold.InputError, match=rf"p\.{kind}: it is damaged"):
            unfold.load_params(path)
    if kind == "npz":  # which has check sums
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        with pytest.raises(unfold.InputError, match=r"p\.npz: it is damaged"):
            unfold.load_params(path)


def test_files_of_another_kind_say_so(tmp_path: Path) -> None:
    unfold.save_params(tmp_path / "a.npz", {"W": 1.0})
    (tmp_path / "a.npz").rename(tmp_path / "a.safetensors")
    np.save(tmp_path / "b.npy", np.ones(2))
    np.savez(tmp_path / "c.npz", W=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("data.pkl", "")
    (tmp_path / "e.npz").write_text("W = 1")
    np.savez(tmp_path / "f.npz", __metadata__=np.asarray("no JSON"))
    np.savetxt(tmp_path / "g.csv", np.ones((3, 2)), delimiter=",")
    (tmp_path / "h.pt").write_text("no tensors")
    for name, why in {
        "a.safetensors": "it is a zip archive, an .npz perhaps, and no .safetensors",
        "b.npy": "it holds one array without a name",
        "c.npz": "it cannot be read as an .npz of numbers",
        "d.npz": "it holds the file data.pkl, which is no array",
        "e.npz": "it is damaged, or of another kind: an .npz is a zip archive",
        "f.npz": "its __metadata__ is not a JSON object",
        "g.csv": "arrays, and their names, are read from an .npz or a .safetensors; "
        '`numpy.savez("g.npz", x=numpy.loadtxt(',
        "h.pt": "arrays, and their names, are read from an .npz or a .safetensors",
    }.items():
        with pytest.raises(unfold.InputError) as error:
            unfold.load_params(tmp_path / name)
        assert f"{name}: {why}" in str(error.value)
    with pytest.raises(FileNotFoundError):
        unfold.load_params(tmp_path / "none.npz")


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    unfold.save_params(path, {"W": 1.0})
    before = path.read_bytes()
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ({"W": "text"}, {}, "W: expected an array of numbers, got one of <U4"),
        ({"W": 1j}, {}, "W: expected an array of numbers, got one of complex128"),
        ([1.0], {}, "the parameters come as a dict from names to arrays, not as a list"),
        ({"W": 1.0}, {"model": object()}, "the metadata model cannot be written as JSON"),
        ({"W": 1.0}, {"rate": np.nan}, "the metadata rate cannot be written as JSON"),
    ]
    for params, metadata, why in wrong:
        with pytest.raises(unfold.InputError) as error:
            unfold.save_params(path, params, **metadata)
        assert why in str(error.value)
    with pytest.raises(unfold.InputError, match=r"parameters go to files in \.safetensors or \.np"):
        unfold.save_params(tmp_path / "p.pt", {"W": 1.0})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def test_names_and_shapes_are_held_against_the_model(tmp_path: Path) -> None:
    fn = unfold.compile(TEXT, D=2, H=3)
    params = fn.init()
    check_params(fn, params)
    check_params(unfold.loads(TEXT), params)
    params["enc.wz"] = params.pop("enc.Wz")
    params["enc.Wn"] = np.ones((3, 5))
    params["v"] = np.ones(4)
    unfold.save_params(tmp_path / "p.npz", params)
    with pytest.raises(unfold.InputError) as error:
        unfold.load_params(tmp_path / "p.npz", fn)
    assert str(error.value).split("\n", 1)[1].splitlines() == [
        "    enc.Wz is missing: real[H, D] with D = 2, H = 3",
        "    v: expected real[H] with H = 3, got an array of shape (4,)",
        "    enc.Wn: expected real[H, D] with D = 2, H = 3, got an array of shape (3, 5)",
        "    enc.wz is not one of its parameters; did you mean `enc.Wz`?",
    ]
    del params["v"], params["enc.wz"], params["enc.Wn"]
    with pytest.raises(
        unfold.InputError, match=r"not the parameters of m:\n    v is missing: real"
    ):
        check_params(unfold.loads(TEXT), params)
