"""Raw samples of the tasks that ask about pictures: questions, references, choices of answers."""

from typing import NamedTuple

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the picture as stored."""


class Question(NamedTuple):
    """A question (or a statement) about one picture, or about two side by side.

    `answers` are what people said, in full (ten in VQA v2, one where there is a truth, none where
    it is kept back); `boxes` are the known objects of each picture, `names` what each of them is
    called (no entries: not known). Questions of one `cluster` (a picture, a sentence) are not
    independent; `kind` is the type that scores are listed by.
    """

    images: tuple[bytes, ...]
    text: str
    answers: tuple[str, ...]
    id: str
    cluster: str
    kind: str = ""
    boxes: tuple[tuple[Box, ...], ...] = ()
    names: tuple[tuple[str, ...], ...] = ()


class Reference(NamedTuple):
    """An expression that means one object of a picture; `boxes` are the candidates.

    `truth` is the box that is meant; it need not be among the candidates (a detector's).
    """

    image: bytes
    text: str
    boxes: tuple[Box, ...]
    truth: Box
    id: str
    cluster: str


class Choice(NamedTuple):
    """A question with candidates of which one is right (`label`, -1: kept back).

    Texts are words and, for an object of the picture, its place in `boxes` (VCR's tags); `names`
    is what each object is.
    """

    image: bytes
    text: tuple[str | int, ...]
    choices: tuple[tuple[str | int, ...], ...]
    label: int
    boxes: tuple[Box, ...]
    names: tuple[str, ...]
    id: str
    cluster: str
