"""A checkpoint of a detector proves itself, finds objects, and becomes a file of regions."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.datasets.region_files import open_regions
from sensorium.media import shorter, transform
from sensorium.models.clip import TINY as CLIP
from sensorium.models.detector_regions import Choice, chosen, strongest
from sensorium.models.faster_rcnn import TINY_SMALL
from sensorium.nn.detect.suppress import nms_by_class
from sensorium.recipes.regions import extract
from sensorium.verbs.detect import detect, look
from sensorium.verbs.load import load_folder
from sensorium.verbs.model import Model
from sensorium.verbs.prove import probes_of
from sensorium.verbs.verify import verify
from sensorium.weights import folder as folders
from tests.models.nets import filled


def picture(seed: int, width: int = 60, height: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    at = tmp_path_factory.mktemp("models") / "detector"
    net, look = filled(TINY_SMALL), transform(shorter(48, 96))
    manifest = {"model": TINY_SMALL.spec(), "transform": look.spec, "tokenizer": None}
    manifest |= {"labels": list("abcde"), "name": "tiny"}
    made = Model(net, look, None, manifest)
    probes = probes_of(made, [picture(1), picture(2)], [], "own first run")
    folders.save(at, net.state_dict(), manifest, {}, probes)
    return load_folder(at)


def test_it_proves_itself(model: Model) -> None:
    assert model.folder is not None and verify(model.folder)["holds"]


def test_boxes_are_those_of_the_picture_as_stored(model: Model) -> None:
    small, large = picture(3), picture(3, 60, 40)
    found = detect(model, small, least=0.0)
    assert 0 < len(found.boxes) <= 100 and (np.diff(found.scores) <= 0).all()
    assert found.boxes.min() >= 0 and (found.boxes.max(0) <= [60.01, 40.01] * 2).all()
    assert np.array_equal(found.boxes, detect(model, large, least=0.0).boxes)


def test_what_is_no_detector_is_refused() -> None:
    other = Model(CLIP.build(), transform(shorter(48, 96)), None, {})
    with pytest.raises(ValueError, match="finds no objects"):
        detect(other, picture(0))


def test_the_choice_of_regions_is_the_published_one() -> None:
    """All classes one by one, as in bottom-up attention's own loop, against what saves work."""
    g = torch.Generator().manual_seed(0)
    low = torch.rand(80, 2, generator=g) * 50
    boxes = torch.cat([low, low + 5 + torch.rand(80, 2, generator=g) * 40], dim=1)
    for scale, choice in ((6.0, Choice()), (1.0, Choice(20, 30)), (12.0, Choice(5, 9))):
        probs = (scale * torch.randn(80, 100, generator=g)).softmax(-1)
        want = (probs * nms_by_class(boxes, probs, choice.nms)).max(1).values
        got = strongest(boxes, probs, choice)
        keep = chosen(want, choice)
        assert torch.equal(chosen(got, choice), keep) and torch.equal(got[keep], want[keep])
        assert choice.least <= len(keep) <= choice.most


def test_a_folder_becomes_a_file_and_goes_on(model: Model, tmp_path: Path) -> None:
    pictures, out, choice = tmp_path / "pictures", tmp_path / "regions", Choice(4, 6)
    pictures.mkdir()
    for i in range(2):
        (pictures / f"{i}.png").write_bytes(picture(i))
    (pictures / "bad.png").write_bytes(b"no picture")
    steps = []
    found = extract(model, pictures, out, "npz", choice, lambda *step: steps.append(step))
    assert found["new"] == 2 and steps[-1] == (3, 3) and "bad.png" in found["unreadable"][0]
    (pictures / "2.png").write_bytes(picture(2))
    assert extract(model, pictures, out, "npz", choice, lambda *_: None)["new"] == 1
    data = open_regions(out)
    assert [one.id for one in data] == ["0", "1", "2"]
    want = look(model, picture(2), choice)
    assert np.array_equal(data[2].features, want.features) and data[2].size == (60, 40)
    assert data[2].detector.startswith("tiny@") and 4 <= len(data[2].boxes) <= 6
    assert data[2].probs is not None and data[2].probs.shape[1] == 6
    with pytest.raises(ValueError, match="begun with another settings"):
        extract(model, pictures, out, "npz", Choice(3, 6), lambda *_: None)
    with pytest.raises(ValueError, match="--min 7"):
        extract(model, pictures, tmp_path / "other", "npz", Choice(7, 6), lambda *_: None)
