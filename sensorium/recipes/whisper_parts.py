"""What the recipes of Whisper share: recordings as a source of batches, and what is scored."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.data.tokenizers.spoken import Spoken as Meanings
from sensorium.datasets.narrated import Chains, Clips, Narrated, Told, catalogued, narrated, parted
from sensorium.datasets.speech import FSDD, LIBRISPEECH, LJSPEECH
from sensorium.models.declaration import Declaration, declared
from sensorium.models.whisper_inputs import Changes, SpeechInputs
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.tasks.records import read
from sensorium.tasks.scores import to_json
from sensorium.tasks.transcription import transcription
from sensorium.train.rules import Rules
from sensorium.train.run import Ask, Finish, Package, Run
from sensorium.verbs.model import Model
from sensorium.verbs.speech.result import Failure, Transcript

SETS = (LIBRISPEECH, LJSPEECH, FSDD)
LINKS = 4  # clips that are joined at most
Recordings = tuple[Path, list[Told]]


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    precision: Any
    seed: int


class Taught(NamedTuple):
    """What is trained on what.

    Attributes:
        model: the declaration of the net, `net` gives it with its starting weights.
        words: the tokenizer.
        data: the recordings to learn from.
        about: what the manifest says of the data.
    """

    model: Callable[[], Declaration]
    net: Callable[[], nn.Module]
    words: Callable[[], ByteLevel]
    data: Callable[[], Recordings]
    changes: Changes
    about: dict[str, Any]


def recordings(data: str, part: str, language: str = "en") -> Recordings:
    """A part of a set of the catalogue, or of your own recordings (see `datasets.narrated`).

    Raises:
        DataError: it cannot be read, or nothing is left.
    """
    if data in SETS:
        return catalogued(data, "train" if part == "train" else "test")
    root, told = narrated(data, language)
    return root, parted(told, "train" if part == "train" else "test")


def teaching(taught: Taught, rules: Rules, effort: Effort, finish: Finish | None) -> Run:
    """The run of a recipe."""

    @cache
    def source() -> Source:
        args = plain(taught.model())
        inputs = SpeechInputs(
            Meanings(taught.words()),
            args["mels"],
            args.get("frames", 1500),
            args.get("length", 448),
            taught.changes,
        )
        root, told = taught.data()
        data = Chains(Clips(root, told, inputs.samples / 16000), LINKS)
        return Source(data, Shuffled(len(data), effort.seed), inputs, Collated(inputs))

    def package() -> Package:
        spec = taught.words().spec()
        manifest = {
            "model": taught.model().spec(),
            "transform": None,
            "tokenizer": spec,
            "data": taught.about,
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): taught.words().data()})

    return Run(
        net=taught.net,
        asks={"transcribe": Ask(NextToken(), source)},
        rules=rules,
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=finish,
        warmup=max(1, effort.steps // 10),
        clip=1.0,
        precision=effort.precision,
        seed=effort.seed,
        save_every=500,
    )


def plain(model: Declaration) -> dict[str, Any]:
    """The arguments of the Whisper itself, with additions or without."""
    return declared(model.args["of"]).args if "of" in model.args else model.args


class Collated:
    """Windows and their tokens as a batch."""

    def __init__(self, inputs: SpeechInputs):
        self.inputs = inputs

    def __call__(self, items: list[Any]) -> Lesson:
        return Lesson(*self.inputs.batch(items))


class Heard(NamedTuple):
    """Error rates on a test part, and what the model that was started from has there.

    Args:
        test: gives the recordings.
        before: gives that model; None: it was made anew.
        stamps: whether it was taught times.
    """

    test: Callable[[], Recordings]
    before: Callable[[], Model] | None = None
    stamps: bool = True

    def samples(self) -> Sequence[Any]:
        """None: a speech model's probes are drawn sounds."""
        return ()

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        root, told = self.test()
        told = [one for one in told if one.task == "transcribe" and one.text]
        if not told:
            return {"scores": {}, "note": "too few recordings: none was kept for the scores"}
        test = Narrated(root, told)
        about = {"split": "test", "model": model.fingerprint()}
        path = records / "transcription.jsonl.gz"
        found = transcription(said(model, self.stamps), test, path=path, about=about, progress=say)
        out = to_json(found) | {"exactly right": exact(path)}
        if self.before is not None:
            out["before"] = to_json(transcription(said(self.before()), test))
        return out


def said(model: Model, stamps: bool = True) -> Callable[[Sequence[bytes]], list[str]]:
    """Transcripts: greedy, temperature 0, nothing taken as silence.

    ValueError: a recording cannot be read.
    """

    def transcribe(sounds: Sequence[bytes]) -> list[str]:
        how: dict[str, Any] = dict(temperatures=(0.0,), silence=None, stamps=stamps)
        found = model.transcribe(list(sounds), batch=16, **how)
        failed = [one.reason for one in found if isinstance(one, Failure)]
        if failed:
            raise ValueError(f"{len(failed)} recordings cannot be read: {failed[0]}")
        return [one.text for one in found if isinstance(one, Transcript)]

    return transcribe


def exact(path: Path) -> float:
    """The share of recordings whose transcript has no error, of a records file, normalised."""
    rows = [row for row in read(path).rows if row["part"] == "normalised"]
    return sum(row["wer"] == 0 for row in rows) / len(rows)
