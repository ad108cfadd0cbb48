"""OpenFlamingo's checkpoint.pt, joined with its language model and tower by one command."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import sensorium
from scripts.golden_flamingo import MARK, PATCHES, TEXTS, WIDTH
from sensorium.cli import main
from sensorium.data.interleaved import CHUNK
from sensorium.data.ragged import lay
from sensorium.forms.gated import Gated
from sensorium.media.specs import openai_clip
from sensorium.models import gpt_neox
from sensorium.models.declaration import Declaration
from sensorium.models.flamingo import TINY_NEOX
from sensorium.models.flamingo import words as words_of
from sensorium.models.flamingo_parts import completed, join
from sensorium.models.layouts import layout
from sensorium.models.published import Part
from sensorium.models.word_export import described
from sensorium.nn.pictured import Pictures
from sensorium.verbs.exchange import import_model
from sensorium.weights.errors import WeightsError
from tests.data.test_words import PAIRS
from tests.models.drawn import drift, uniform
from tests.models.nets import filled
from tests.models.test_flamingo_layouts import (
    CONFIGS,
    GOLDEN,
    LIMIT,
    Given,
    fitting,
    own,
    tower,
    write,
)
from tests.verbs.test_shown import drawn

KINDS = list(CONFIGS)
WORDS = {"mpt": "transformer.wte.weight", "gpt_neox": "gpt_neox.embed_in.weight"}
WORDS |= {"llama": "model.embed_tokens.weight"}


def config_of(kind: str) -> dict[str, Any]:
    config = {**CONFIGS[kind], "model_type": kind, "media_token_id": MARK}
    return config | ({"rms_norm_eps": 1e-6} if kind == "llama" else {})


def laid_out(kind: str, at: Path) -> tuple[Path, Path, Path]:
    """checkpoint.pt, the language model's folder, and CLIP's file, as they are published."""
    trained, lm = own(kind)
    at.mkdir(exist_ok=True)
    torch.save({"model_state_dict": trained}, at / "checkpoint.pt")
    write({**lm, WORDS[kind]: torch.zeros(90, 32)}, at / "lm", config_of(kind))
    save_file(tower(), at / "ViT-L-14.safetensors")
    return at / "checkpoint.pt", at / "lm", at / "ViT-L-14.safetensors"


def command(files: tuple[Path, Path, Path], out: Path, *more: str) -> int:
    words = ["import", files[0], "--layout", "openflamingo", "--lm", files[1], "--tower", files[2]]
    return main([*map(str, words), "--out", str(out), *more])


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_one_command_joins_the_files_to_the_model_of_the_whole_file(
    kind: str, tmp_path: Path
) -> None:
    """Logits as golden/flamingo.safetensors has them, of the authors' own code."""
    files = laid_out(kind, tmp_path)
    assert command(files, tmp_path / "flamingo", "--allow-pickle") == 0
    joined = sensorium.load(tmp_path / "flamingo")
    trained, lm = own(kind)
    whole = sensorium.load(
        write(completed(trained, lm, tower()), tmp_path / "whole", config_of(kind)), "openflamingo"
    )
    assert joined.manifest["model"] == whole.manifest["model"]
    same = whole.net.state_dict()
    assert all(torch.equal(t, same[key]) for key, t in joined.net.state_dict().items())
    assert set(joined.manifest["imported"]["parts"]) == {"lm", "tower"}
    assert isinstance(joined.net, Gated)
    joined.net.image = Given()
    text, states = lay(TEXTS), uniform("flamingo", (6, PATCHES, WIDTH))[:, None]
    said = joined.net(Pictures(states, (text.ids == MARK).nonzero()[:, 0]), text)
    assert drift(load_file(GOLDEN)[kind], said) <= LIMIT


def test_pickles_are_read_when_that_is_said_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = laid_out("mpt", tmp_path)
    assert command(files, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "checkpoint.pt" in said and "--allow-pickle" in said
    plain = {k.removeprefix("module."): t.clone() for k, t in own("mpt")[0].items()}
    save_file(plain, tmp_path / "trained.safetensors")
    torch.save(tower(), tmp_path / "clip.pt")
    for changed in ((tmp_path / "trained.safetensors", files[1], tmp_path / "clip.pt"),):
        assert command(changed, tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert "clip.pt" in said and "--allow-pickle" in said
    assert command((tmp_path / "trained.safetensors", *files[1:]), tmp_path / "out") == 0


def test_what_does_not_go_together_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    checkpoint, lm, clip = laid_out("gpt_neox", tmp_path)
    _, other_lm, _ = laid_out("llama", tmp_path / "other")
    trained, own_lm = own("gpt_neox")

    def lms(name: str, tensors: dict[str, Tensor]) -> Path:
        return write(tensors, tmp_path / name, config_of("gpt_neox"))

    shallow = lms("shallow", {k: t for k, t in own_lm.items() if ".layers.3." not in k})
    wide = lms("wide", {**own_lm, WORDS["gpt_neox"]: torch.zeros(96, 40)})
    bare = tmp_path / "bare"
    bare.mkdir()
    save_file(dict(own_lm), bare / "model.safetensors")
    narrow = tmp_path / "narrow.safetensors"
    save_file({k: t[: WIDTH // 2].clone() for k, t in tower().items()}, narrow)
    text_only = tmp_path / "text.safetensors"
    save_file({"text.x": torch.zeros(2)}, text_only)
    whole = tmp_path / "whole.safetensors"
    save_file({k: t.clone() for k, t in completed(trained, own_lm, tower()).items()}, whole)
    both: dict[str, Any] = {"lm": lm, "tower": clip}
    for source, parts, says in (
        (checkpoint, {}, "--lm and --tower"),
        (checkpoint, {"lm": lm}, "--tower is missing"),
        (checkpoint, {"tower": clip}, "--lm is missing"),
        (checkpoint, both | {"lm": other_lm}, "was trained inside gpt_neox.layers"),
        (checkpoint, both | {"lm": shallow}, "has 3 layers, and .* trained inside 4"),
        (checkpoint, both | {"lm": wide}, "40 wide, and .* with 32"),
        (checkpoint, both | {"lm": bare}, "no config.json beside"),
        (checkpoint, both | {"lm": clip}, "no config.json beside"),
        (checkpoint, both | {"lm": tmp_path / "none"}, "none"),
        (checkpoint, both | {"tower": narrow}, "12 wide, and .* reads 24"),
        (checkpoint, both | {"tower": text_only}, "no tensor visual.conv1.weight"),
        (whole, both, "whole already"),
        (lm / "model.safetensors", both, "no OpenFlamingo"),
    ):
        with pytest.raises((WeightsError, OSError), match=says):
            import_model(source, "openflamingo", tmp_path / "out", allow_pickle=True, parts=parts)
        assert not [one for one in tmp_path.iterdir() if one.name.startswith((".", "out"))]
    with pytest.raises(WeightsError, match="are whole: leave out --lm, --tower"):
        import_model(lm, "hf-gpt-neo", tmp_path / "out", parts=both)
    import_model(checkpoint, "openflamingo", tmp_path / "ours", allow_pickle=True, parts=both)
    with pytest.raises(WeightsError, match="is a checkpoint folder"):
        import_model(
            checkpoint,
            "openflamingo",
            tmp_path / "out",
            allow_pickle=True,
            parts=both | {"lm": tmp_path / "ours"},
        )


def test_the_tokenizer_is_given_the_tokens_that_openflamingo_adds(tmp_path: Path) -> None:
    """Behind the language model's own, in their order; no third where it has <PAD> or its like."""
    trained, lm = own("mpt")
    plain = {k.removeprefix("module."): t for k, t in trained.items()}
    clip = Part("clip", tower())

    def beside(count: int, *extra: dict[str, Any]) -> dict[str, Any]:
        vocab = {f"t{i}": i for i in range(count)}
        table = {"model": {"vocab": vocab}, "added_tokens": list(extra)}
        return {"config.json": config_of("mpt"), "tokenizer.json": table}

    for count in (93, 94):
        given = Part("lm", lm, beside(count, {"id": count - 1, "content": "<|endoftext|>"}))
        found = join(Part("it", plain), {"lm": given, "tower": clip}).beside["tokenizer.json"]
        new = {one["content"]: one["id"] for one in found["added_tokens"][1:]}
        want = {CHUNK: count, "<image>": count + 1}
        assert new == want | ({"<PAD>": 95} if count == 93 else {})
    has = Part("lm", lm, beside(90, {"id": 91, "content": "<image>"}))
    table = join(Part("it", plain), {"lm": has, "tower": clip}).beside["tokenizer.json"]
    assert table is has.beside["tokenizer.json"]
    for count in (92, 95, 200):
        with pytest.raises(WeightsError, match=f"96 word vectors, .* {count} tokens"):
            join(Part("it", plain), {"lm": Part("lm", lm, beside(count)), "tower": clip})


def test_the_whole_with_its_tokenizer_is_talked_with(tmp_path: Path) -> None:
    """A GPT-NeoX with its tokenizer.json beside, under an OpenFlamingo with three tokens more."""
    words = PAIRS["gpt2-nfc"][1]
    spec = fitting(TINY_NEOX)
    lm = words_of(Declaration(gpt_neox.gpt_neox, gpt_neox.TINY.args), words.vocab + 3)
    declaration = spec._replace(args=spec.args | dict(lm=lm, mark=words.vocab + 1))
    manifest = {"transform": openai_clip(24)}
    chosen = layout("openflamingo")
    whole = chosen.keymap(declaration).save(filled(declaration).state_dict())
    trained, own_lm, seen = {}, {}, {}
    for key, tensor in whole.items():
        tensor = tensor.clone()
        if key.startswith("vision_encoder."):
            seen[key.replace("vision_encoder.", "visual.")] = tensor
        elif ".decoder_layer." in key or "final_layer_norm" in key:
            own_lm[key.removeprefix("lang_encoder.").replace("decoder_layer.", "")] = tensor
        else:
            trained[key] = tensor
    config = json.loads(chosen.files(declaration, manifest)["config.json"])
    del config["media_token_id"]
    at = write(own_lm, tmp_path / "lm", config)
    table, about = described(words)
    (at / "tokenizer.json").write_text(json.dumps(table))
    (at / "tokenizer_config.json").write_text(json.dumps(about))
    save_file(seen, tmp_path / "clip.safetensors")
    save_file(trained, tmp_path / "trained.safetensors")
    files = tmp_path / "trained.safetensors", at, tmp_path / "clip.safetensors"
    assert command(files, tmp_path / "out") == 0
    model = sensorium.load(tmp_path / "out")
    assert model.manifest["model"] == declaration.spec() and model.words is not None
    added = {name: model.words.specials[name] for name in (CHUNK, "<image>", "<PAD>")}
    assert list(added.values()) == [words.vocab + i for i in range(3)]
    assert model.words.encode("<image> a") == words.encode("<image> a")
    image = {"type": "image", "image": drawn(0)}
    said = [{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}]
    assert model.chat(said, max_tokens=3).ids
