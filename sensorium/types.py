"""What travels between the parts: raw samples, tensors, batches, and what a net can be asked.

One legend of letters for every shape in the library:

    b  samples in a batch        n  tokens a sample (queries)     k  keys a query may see
    t  tokens laid end to end    d  width of the model            h  attention heads
    e  width of the embedding    c  channels                      y x  rows and columns of a picture
    v  vocabulary                l  layers

Everything here is a NamedTuple, so that torch sees a pytree: compile, sharding and collation
understand it without being told.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

# --- raw samples: what a data set yields, before any model has touched it ---------------------


class Captioned(NamedTuple):
    """A picture as undecoded bytes, and one or more texts that each describe it."""

    image: bytes
    texts: tuple[str, ...]
    id: str  # names the file (and row) it came from; error messages show it


class Labelled(NamedTuple):
    """A picture as undecoded bytes, and the index of its class in the data set's `labels`."""

    image: bytes
    label: int
    id: str


# --- tensors -----------------------------------------------------------------------------------


class Layout(NamedTuple):
    """Who may see whom, four integers a token.

    A query sees a key when `seg` is equal and the key's `rank` is at most its own. That covers
    bidirectional, causal and prefix attention, packed documents, and padding (its own segment).
    `pos` is the position inside the document; `kind` the modality or expert of the token.
    """

    seg: Int[Tensor, "b n"]
    rank: Int[Tensor, "b n"]
    pos: Int[Tensor, "b n"]
    kind: Int[Tensor, "b n"]


class Ragged(NamedTuple):
    """Texts laid end to end in one row of tokens, without padding.

    `rows[b, n]` is the place of token n of text b (past the end of a text it repeats the text's
    last token); `back[t]` is the place of token t in `rows` read row by row, the inverse.
    Linear layers run over the t real tokens; only attention is spread out to (b, n).
    """

    rows: Int[Tensor, "b n"]
    back: Int[Tensor, " t"]
    lengths: Int[Tensor, " b"]
    causal: bool


class Tokens(NamedTuple):
    """The one currency: token states, and who may see whom (None: all see all, no mask)."""

    x: Float[Tensor, "b n d"]  # with a Ragged layout b is 1 and n is t
    at: Layout | Ragged | None = None


class Grid(NamedTuple):
    """The other currency, for what needs the plane: a feature map (`valid` None: every cell)."""

    x: Float[Tensor, "b c y x"]
    valid: Bool[Tensor, "b y x"] | None = None


class Ids(NamedTuple):
    """Tokenized texts laid end to end (see `Ragged`), with each token's position in its text."""

    ids: Int[Tensor, " t"]
    pos: Int[Tensor, " t"]
    rows: Int[Tensor, "b n"]
    back: Int[Tensor, " t"]
    lengths: Int[Tensor, " b"]


# --- batches -----------------------------------------------------------------------------------


class ImageText(NamedTuple):
    """Pictures with one text each; row i of both belong together."""

    image: Float[Tensor, "b c y x"]
    text: Ids


class ImageLabel(NamedTuple):
    """Pictures with the index of their class."""

    image: Float[Tensor, "b c y x"]
    label: Int[Tensor, " b"]


class Pair(NamedTuple):
    """What two towers say of a batch: unit vectors, and the log of the inverse temperature."""

    image: Float[Tensor, "b e"]
    text: Float[Tensor, "b e"]
    log_scale: Float[Tensor, " 1"]


# --- what a net can be asked -------------------------------------------------------------------


@runtime_checkable
class Embeds(Protocol):
    """Maps pictures and texts into one space, as unit vectors."""

    def embed_image(self, image: Float[Tensor, "b c y x"]) -> Float[Tensor, "b e"]: ...
    def embed_text(self, text: Ids) -> Float[Tensor, "b e"]: ...


@runtime_checkable
class Classifies(Protocol):
    """Maps pictures to one logit a class."""

    def classify(self, image: Float[Tensor, "b c y x"]) -> Float[Tensor, "b v"]: ...


@runtime_checkable
class Objective(Protocol):
    """A question posed to a net, and how its answer is marked.

    `encode` is the expensive part and runs on any slice of a batch; `mark` turns the answers into
    losses. An objective whose rows depend on one another (a contrast) is `coupled`: when a batch is
    accumulated from slices, all slices are encoded before any is marked.
    """

    coupled: bool

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Any:
        """The question: all randomness of the objective, drawn from `g`, eagerly."""
        ...

    def count(self, question: Any) -> dict[str, int]:
        """What each loss is divided by once all slices and ranks are summed."""
        ...

    def encode(self, net: nn.Module, question: Any) -> Any:
        """The net's answers, a NamedTuple of tensors, rows first (or of shape (1,): shared)."""
        ...

    def mark(self, answers: Any, question: Any) -> dict[str, Tensor]:
        """The sum of each loss over this rank's rows; a pure function."""
        ...

    def after_step(self, net: nn.Module) -> None:
        """What follows an optimiser step: clamp a temperature, move a teacher, feed a queue."""
        ...
