"""Benchmarks by name: which data, which question. `sensorium evaluate CHECKPOINT TASK`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data import prompts
from sensorium.datasets.coco_open import coco_open
from sensorium.datasets.emoji import HELD_OUT_VENDOR, emoji
from sensorium.datasets.flowers import flowers
from sensorium.datasets.folder import folder, labelled_folder
from sensorium.datasets.grocery import grocery
from sensorium.datasets.openstax import captions
from sensorium.datasets.speech import LIBRISPEECH, LJSPEECH, Recordings
from sensorium.recipes import judged
from sensorium.recipes.fewshots import classified
from sensorium.tasks.linear_probe import linear_probe
from sensorium.tasks.retrieval import retrieve
from sensorium.tasks.scores import Scores, to_json
from sensorium.tasks.transcription import transcription
from sensorium.tasks.zero_shot import zero_shot
from sensorium.verbs.model import Model
from sensorium.verbs.shots import NAMED
from sensorium.verbs.speech.result import Failure, Transcript

Say = Callable[[int, int], None]
USUAL = ("a photo of a {}.",)


class Asked(NamedTuple):
    """A model, the user's data (None: the task's own), prompts, where records go, and what finds
    the regions of pictures for a model that sees those."""

    model: Model
    data: str | None
    templates: tuple[str, ...]
    path: Path | None
    say: Say
    detector: Model | None = None

    def about(self, split: str) -> dict[str, Any]:
        return {"split": split, "model": self.model.fingerprint()}

    def said(self) -> dict[str, Any]:
        """What tasks of questions are told beside the questions."""
        return {"path": self.path, "about": self.about("held out"), "progress": self.say}


def emoji_retrieval(a: Asked) -> Scores:
    """emoji of the vendor that training left out, by CLDR short name, among all its drawings"""
    vendor = a.data or held_out(a.model)
    samples, about = emoji([vendor], keywords=False), a.about(f"all of {vendor}")
    return retrieve(a.model, samples, path=a.path, about=about, progress=a.say)


def openstax_retrieval(a: Asked) -> Scores:
    """textbook figures by alternative text and caption (openstax, test part)"""
    samples = captions(a.data, part="test")
    return retrieve(a.model, samples, path=a.path, about=a.about("test"), progress=a.say)


def coco_open_retrieval(a: Asked) -> Scores:
    """photographs by five captions each (coco_open, both parts)"""
    samples = [*coco_open(a.data, part="train"), *coco_open(a.data, part="test")]
    return retrieve(a.model, samples, path=a.path, about=a.about("train and test"), progress=a.say)


def folder_retrieval(a: Asked) -> Scores:
    """your own captioned pictures (--data FOLDER)"""
    samples = folder(needed(a.data))
    return retrieve(a.model, samples, path=a.path, about=a.about("all"), progress=a.say)


def flowers_zero_shot(a: Asked) -> Scores:
    """photographs of five kinds of flowers, by their names (flowers, test part)"""
    return _zero_shot(a, flowers(a.data, part="test"))


def grocery_zero_shot(a: Asked) -> Scores:
    """photographs of 81 groceries, by their names (grocery, test part)"""
    return _zero_shot(a, grocery(a.data, part="test"))


def folder_zero_shot(a: Asked) -> Scores:
    """your own pictures, one folder a class (--data FOLDER)"""
    return _zero_shot(a, labelled_folder(needed(a.data)), "all")


def flowers_linear_probe(a: Asked) -> Scores:
    """flowers, by a linear classifier on frozen features"""
    return _probe(a, flowers(a.data, part="train"), flowers(a.data, part="test"))


def grocery_linear_probe(a: Asked) -> Scores:
    """groceries, by a linear classifier on frozen features"""
    return _probe(a, grocery(a.data, part="train"), grocery(a.data, part="test"))


def flowers_few_shot(a: Asked) -> Scores:
    """flowers named by a Flamingo, 0 to 32 examples in its prompt, random and retrieved"""
    return _few_shot(a, flowers(a.data, part="train"), flowers(a.data, part="test"))


def grocery_few_shot(a: Asked) -> Scores:
    """groceries named by a Flamingo, 0 to 32 examples in its prompt, random and retrieved"""
    return _few_shot(a, grocery(a.data, part="train"), grocery(a.data, part="test"))


def folder_few_shot(a: Asked) -> Scores:
    """your pictures (--data FOLDER: train/ and test/, one folder a class) named by a Flamingo"""
    at = Path(needed(a.data))
    return _few_shot(a, labelled_folder(at / "train"), labelled_folder(at / "test"))


def librispeech_transcription(a: Asked) -> Scores:
    """read speech, word and character error rates (librispeech_mini, test part)"""
    return _transcription(a, LIBRISPEECH)


def ljspeech_transcription(a: Asked) -> Scores:
    """one voice reading, word and character error rates (ljspeech_mini, test part)"""
    return _transcription(a, LJSPEECH)


def questions(a: Asked) -> Scores:
    """questions in VQA v2's two files (--data FOLDER), of a model that answers"""
    return judged.questions(a.model, a.detector, needed(a.data), a.said())


def pairs(a: Asked) -> Scores:
    """statements about two pictures in NLVR2's files (--data FOLDER): accuracy, consistency"""
    return judged.pairs(a.model, a.detector, needed(a.data), a.said())


def entailment(a: Asked) -> Scores:
    """visual entailment in SNLI-VE's files (--data FOLDER)"""
    return judged.entailed(a.model, a.detector, needed(a.data), a.said())


def grounding(a: Asked) -> Scores:
    """referring expressions in RefCOCO's files (--data FOLDER): the picked box overlaps by half"""
    return judged.referred(a.model, needed(a.data), a.said())


def reranking(a: Asked) -> Scores:
    """retrieval by reading pairs (--data FOLDER: captions, or Karpathy's file and pictures)"""
    return judged.reranked(a.model, a.detector, needed(a.data), a.said())


TASKS: dict[str, Callable[[Asked], Scores]] = {
    "emoji.retrieval": emoji_retrieval,
    "openstax.retrieval": openstax_retrieval,
    "coco_open.retrieval": coco_open_retrieval,
    "retrieval": folder_retrieval,
    "flowers.zero-shot": flowers_zero_shot,
    "grocery.zero-shot": grocery_zero_shot,
    "zero-shot": folder_zero_shot,
    "flowers.linear-probe": flowers_linear_probe,
    "grocery.linear-probe": grocery_linear_probe,
    "flowers.few-shot": flowers_few_shot,
    "grocery.few-shot": grocery_few_shot,
    "few-shot": folder_few_shot,
    "vqa": questions,
    "pairs": pairs,
    "entailment": entailment,
    "grounding": grounding,
    "reranking": reranking,
    "librispeech.transcription": librispeech_transcription,
    "ljspeech.transcription": ljspeech_transcription,
}


def evaluate(
    model: Model,
    task: str,
    data: str | None = None,
    templates: str | None = None,
    path: Path | None = None,
    say: Say = lambda done, total: None,
    detector: Model | None = None,
) -> dict[str, Any]:
    """Asks a model a task; scores with intervals, as plain JSON.

    Args:
        data: the user's own data, or the catalogue's folder in place of SENSORIUM_DATA.
        templates: the name of a prompt table (`imagenet`), or one prompt with a {}.
        path: where the per-sample records go.
        detector: finds the regions of pictures, where the model sees regions and the task has none.

    Raises:
        ValueError: no such task (the message lists them), or one that needs no detector.
    """
    if task not in TASKS:
        raise ValueError(f"no task is called {task!r}; there are: {', '.join(TASKS)}")
    words = USUAL
    if templates is not None:
        words = (templates,) if "{}" in templates else prompts.templates(templates)
    if detector is not None and task not in ("vqa", "pairs", "entailment", "reranking"):
        raise ValueError(f"{task} looks for no regions: leave the detector out")
    found = TASKS[task](Asked(model, data, words, path, say, detector))
    return {"task": task, **to_json(found)}


def held_out(model: Model) -> str:
    """The vendor that the model's manifest says training left out."""
    data = model.manifest.get("data")
    return data.get("held out", HELD_OUT_VENDOR) if isinstance(data, dict) else HELD_OUT_VENDOR


def needed(data: str | None) -> str:
    """The user's data, which this task cannot do without."""
    if data is None:
        raise ValueError("this task is asked of your own pictures: say where they are with --data")
    return data


def _transcription(a: Asked, name: str) -> Scores:
    def said(sounds: Sequence[bytes]) -> list[str]:
        found = a.model.transcribe(list(sounds), language="en")
        failed = [one.reason for one in found if isinstance(one, Failure)]
        if failed:
            raise ValueError(f"{len(failed)} recordings cannot be read: {failed[0]}")
        return [one.text for one in found if isinstance(one, Transcript)]

    samples = Recordings(name, "test", a.data)
    return transcription(said, samples, path=a.path, about=a.about("test"), progress=a.say)


def _few_shot(a: Asked, train: Any, test: Any) -> Scores:
    own = a.templates if a.templates != USUAL else (NAMED,)
    if len(own) != 1:
        raise ValueError("few-shot takes one prompt with a {}, not a table of them")
    return classified(a.model, train, test, own[0], **a.said())


def _zero_shot(a: Asked, samples: Any, split: str = "test") -> Scores:
    return zero_shot(
        a.model,
        samples,
        samples.labels,
        templates=a.templates,
        path=a.path,
        about=a.about(split),
        progress=a.say,
    )


def _probe(a: Asked, train: Any, test: Any) -> Scores:
    about = a.about("test")
    return linear_probe(
        a.model, train, test, train.labels, path=a.path, about=about, progress=a.say
    )
