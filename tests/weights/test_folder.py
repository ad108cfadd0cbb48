"""The checkpoint folder: what is saved comes back, and what was tampered with is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sensorium.weights.card import card
from sensorium.weights.errors import WeightsError
from sensorium.weights.folder import Checkpoint, expect, load, save, value
from sensorium.weights.probes import Probe

TABLE = torch.randn(5, 4)
TENSORS = {
    "embed.weight": TABLE,
    "head.weight": TABLE,
    "norm.weight": torch.ones(4).bfloat16(),
    "steps": torch.tensor(3),
}
MANIFEST = {
    "model": {"name": "clip.vit", "args": {"width": 4, "heads": [1, 2]}},
    "activation": "quickgelu",
    "transform": {"name": "clip", "version": 1, "resize": "bicubic"},
    "data": ["openstax"],
    "licence": "Apache-2.0",
}
PROBES = [Probe("embed_text", {"text": "ein Hund"}, {"out": torch.randn(3)}, "own first run")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "run", TENSORS, MANIFEST, {"tokenizer/merges.txt": b"a b\n"}, PROBES)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_comes_back(folder: Path):
    checkpoint = load(folder, full_check=True)
    assert checkpoint.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(checkpoint.tensors[name], tensor)
        assert checkpoint.tensors[name].dtype == tensor.dtype
    assert {key: checkpoint.manifest[key] for key in MANIFEST} == MANIFEST
    assert (folder / "tokenizer/merges.txt").read_bytes() == b"a b\n"
    (probe,) = checkpoint.probes()
    assert probe.inputs == {"text": "ein Hund"}
    assert torch.equal(probe.values["out"], PROBES[0].values["out"])
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_tied_names_are_stored_once(folder: Path):
    checkpoint = load(folder)
    assert checkpoint.manifest["tied"] == {"head.weight": "embed.weight"}
    head, embed = checkpoint.tensors["head.weight"], checkpoint.tensors["embed.weight"]
    assert head.data_ptr() == embed.data_ptr()
    assert (folder / "model.safetensors").stat().st_size < 2 * TABLE.numel() * 4 + 400


def test_views_of_one_storage_are_not_tied(tmp_path: Path):
    q, k = torch.arange(8.0).reshape(2, 4)
    checkpoint = load(save(tmp_path / "a", {"q": q, "k": k, "t": TABLE, "turned": TABLE.T}, {}))
    assert checkpoint.manifest["tied"] == {}
    assert torch.equal(checkpoint.tensors["k"], k)
    assert torch.equal(checkpoint.tensors["turned"], TABLE.T)


def test_renaming_the_folder_changes_nothing(folder: Path, tmp_path: Path):
    before = load(folder, full_check=True)
    after = load(shutil.move(folder, tmp_path / "vit-L-14-quickgelu"), full_check=True)
    assert before.manifest == after.manifest
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path):
    again = save(tmp_path / "again", TENSORS, MANIFEST, {"tokenizer/merges.txt": b"a b\n"}, PROBES)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(
        path.read_bytes() == (again / path.relative_to(folder)).read_bytes() for path in files
    )


def test_large_weights_are_sharded_with_an_index(tmp_path: Path):
    tensors = {f"w.{i:02d}": torch.full((100,), float(i)) for i in range(10)}
    folder = save(tmp_path / "a", tensors, {}, shard_bytes=1000)
    assert len(list(folder.glob("model-0000?-of-00005.safetensors"))) == 5
    checkpoint = load(folder, full_check=True)
    assert all(torch.equal(checkpoint.tensors[name], tensors[name]) for name in tensors)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["w.09"] == "model-00005-of-00005.safetensors"
    assert index["metadata"] == {"total_size": 4000}


def test_the_new_one_takes_the_place_of_the_old(folder: Path):
    save(folder, {"w": torch.ones(1)}, {"model": "other"})
    checkpoint = load(folder, full_check=True)
    assert checkpoint.tensors.keys() == {"w"} and checkpoint.manifest["model"] == "other"
    assert not (folder / "tokenizer").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


# --- what save refuses ----------------------------------------------------------------------------


def test_a_folder_with_other_things_in_it_is_never_replaced(folder: Path, tmp_path: Path):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match=r"would lose notes\.txt"):
        save(folder, TENSORS, MANIFEST)
    assert (folder / "notes.txt").read_text() == "mine"
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("")
    with pytest.raises(WeightsError, match="is not a checkpoint folder"):
        save(home, TENSORS, MANIFEST)
    with pytest.raises(WeightsError, match="is a file"):
        save(home / "thesis.tex", TENSORS, MANIFEST)


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "a/../../b", "manifest.json", "model-1.safetensors", "a.pkl", ".hidden", "a//b"],
)
def test_file_names_that_are_not_allowed(tmp_path: Path, name: str):
    with pytest.raises(WeightsError, match="file name"):
        save(tmp_path / "a", TENSORS, {}, {name: b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"format": "x"}, "the manifest's format are written by save"),
        ({"eps": float("nan")}, "cannot be written as JSON"),
        ({"path": Path("x")}, "cannot be written as JSON"),
    ],
)
def test_manifests_that_are_not_allowed(tmp_path: Path, manifest: dict[str, object], text: str):
    with pytest.raises(WeightsError, match=text):
        save(tmp_path / "a", TENSORS, manifest)
    assert list(tmp_path.iterdir()) == []


# --- what load refuses ----------------------------------------------------------------------------


def test_what_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(WeightsError, match="there is no such folder"):
        load(tmp_path / "none")
    with pytest.raises(WeightsError, match=r"no manifest\.json.*sensorium import"):
        load(tmp_path)


@pytest.mark.parametrize("other", ["sensorium/2", "sensorium/0.9", "onnx", None, 1])
def test_another_version(folder: Path, other: object):
    edit(folder, format=other)
    with pytest.raises(WeightsError, match=r"its format is .*, this library reads 'sensorium/1'"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": "sensorium/1"}', b"\xff", b"[" * 99999, b'{"a":1,"a":2}'],
)
def test_a_damaged_manifest(folder: Path, content: bytes):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"manifest\.json"):
        load(folder)


def test_a_changed_file_is_named(folder: Path):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    load(folder)  # the size is right, and the values are for the probes to judge
    with pytest.raises(WeightsError, match=r"1 changed \(sha256\): model\.safetensors"):
        load(folder, full_check=True)
    path.write_bytes(data[:-4])
    (folder / "tokenizer/merges.txt").unlink()
    with pytest.raises(
        WeightsError, match=r"(?s)missing: tokenizer/merges\.txt.*another size: model"
    ):
        load(folder)


def test_a_pickle_in_the_folder(folder: Path):
    (folder / "optimizer.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"optimizer\.pt: a pickle can run code"):
        load(folder)
    (folder / "optimizer.pt").rename(folder / "state.bin")
    (folder / "state.bin").write_bytes(b"\x80\x04}.")
    with pytest.raises(WeightsError, match=r"state\.bin: a pickle"):
        load(folder)
    torch.save(TENSORS, folder / "state.bin")
    with pytest.raises(WeightsError, match=r"state\.bin: a pickle"):
        load(folder)


def test_stray_weights_and_paths_that_lead_out(folder: Path):
    save_file({"x": torch.ones(1)}, folder / "model-2.safetensors")
    with pytest.raises(WeightsError, match=r"model-2\.safetensors is not in the manifest"):
        load(folder)
    edit(folder, files={"../model.safetensors": {"bytes": 1, "sha256": ""}})
    with pytest.raises(WeightsError, match="leads out of the folder"):
        load(folder)
    edit(folder, files={})
    with pytest.raises(WeightsError, match="lists no weights"):
        load(folder)


def test_ties_that_do_not_fit(folder: Path):
    edit(folder, tied={"head.weight": "none"})
    with pytest.raises(WeightsError, match=r"tied name head\.weight -> none"):
        load(folder)


def test_values_that_must_be_there(folder: Path):
    checkpoint = load(folder)
    assert value(checkpoint, "transform.resize") == "bicubic"
    assert value(checkpoint, "activation", ("gelu", "quickgelu")) == "quickgelu"
    with pytest.raises(
        WeightsError, match=r"the value 'pooling' is missing; .* choices: cls, mean"
    ):
        value(checkpoint, "pooling", ("cls", "mean"))
    with pytest.raises(WeightsError, match=r"'transform\.version' is 1; the choices: 2, 3"):
        value(checkpoint, "transform.version", (2, 3))
    with pytest.raises(WeightsError, match=r"'transform\.resize\.filter' is missing"):
        value(checkpoint, "transform.resize.filter")


def test_expected_tensors():
    shapes = {"a": (2, 3), "b": (4,), "c": (1,)}
    expect({"a": torch.ones(2, 3), "b": torch.ones(4), "c": torch.ones(1)}, shapes)
    wrong = {"a": torch.ones(3, 2), "c": torch.tensor([float("nan")]).half(), "d": torch.ones(1)}
    with pytest.raises(WeightsError) as error:
        expect(wrong, shapes, "clip/model.safetensors")
    assert str(error.value).splitlines()[:5] == [
        "clip/model.safetensors:",
        "  1 missing: b",
        "  1 not in this model: d",
        "  1 wrongly shaped: a (3, 2) in the file, (2, 3) in the model",
        "  1 not finite (NaN or infinity): c",
    ]
    expect({"x": torch.ones(1).to(torch.float8_e4m3fn)}, {"x": (1,)})


def test_the_card_says_what_the_manifest_says(folder: Path):
    text = (folder / "README.md").read_text()
    assert text == card(load(folder).manifest)
    for said in ("# clip.vit", "## licence", "`Apache-2.0`", "- resize: `bicubic`", "head.weight"):
        assert said in text
    assert "`` a`b ``" in card({"model": "m", "note": "a`b"})
    assert "\n# forged" not in card({"model": "m\n# forged"})


def test_a_checkpoint_is_a_plain_tuple(folder: Path):
    assert isinstance(load(folder), Checkpoint) and load(folder).folder == folder
