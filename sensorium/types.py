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


class Boxed(NamedTuple):
    """A picture as undecoded bytes and what stands in it, one entry an object.

    Boxes are (x1, y1, x2, y2) in pixels of the picture as stored; `labels` are indices into the
    data set's `labels`, `attributes` into its `attributes` (-1: not known); a box that is a `crowd`
    holds many objects and is neither to be found nor to be learnt.
    """

    image: bytes
    boxes: tuple[tuple[float, float, float, float], ...]
    labels: tuple[int, ...]
    attributes: tuple[int, ...]
    crowd: tuple[bool, ...]
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
    """Texts (or regions, or both) laid end to end in one row of tokens, without padding.

    Sample follows sample, and a sample's tokens stand together. `rows[b, n]` is the place of token
    n of text b (past the end of a text it repeats the text's last token); `back[t]` is the place of
    token t in `rows` read row by row, the inverse.
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
    """Tokenized texts laid end to end (see `Ragged`), with each token's position in its text.

    `kind` is the segment a token belongs to (BERT's token type); None: all are of segment 0.
    """

    ids: Int[Tensor, " t"]
    pos: Int[Tensor, " t"]
    rows: Int[Tensor, "b n"]
    back: Int[Tensor, " t"]
    lengths: Int[Tensor, " b"]
    kind: Int[Tensor, " t"] | None = None


class Regions(NamedTuple):
    """What a detector saw in the pictures of a batch, laid end to end (see `Ragged`).

    A picture may have no region (`lengths` 0); there is always at least one row, and rows behind
    the last region belong to no picture. `boxes` are corners (x1, y1, x2, y2) as shares of the
    picture's width and height. `kind` says which picture of a sample a region is of (0: the only,
    or left, one). `masked` is 1 where an objective hid the region. `words` are the places in the
    text of the words that a region is linked with, -1 for none (no columns: none is).
    """

    features: Float[Tensor, "r c"]
    boxes: Float[Tensor, "r 4"]
    kind: Int[Tensor, " r"]
    masked: Int[Tensor, " r"]
    words: Int[Tensor, "r w"]
    rows: Int[Tensor, "b n"]
    back: Int[Tensor, " r"]
    lengths: Int[Tensor, " b"]


class Patched(NamedTuple):
    """Pictures of any shapes, cut into square patches that are laid end to end (see `Ragged`).

    `patches` are the pixels, channel by channel, row by row; `place` is a patch's row and column,
    `grid` how many rows and columns its picture has; `kind` as in `Regions`.
    """

    patches: Float[Tensor, "t c"]
    place: Int[Tensor, "t 2"]
    kind: Int[Tensor, " t"]
    grid: Int[Tensor, "b 2"]
    rows: Int[Tensor, "b n"]
    back: Int[Tensor, " t"]
    lengths: Int[Tensor, " b"]


class Shared(NamedTuple):
    """Pictures that several texts of a batch are about: text i is about `images[which[i]]`.

    Each is read once, and what was read of it goes to all its texts.
    """

    images: Float[Tensor, "u c y x"]
    which: Int[Tensor, " b"]


Pictured = Float[Tensor, "b c y x"] | Shared | Patched | Regions


# --- batches -----------------------------------------------------------------------------------


class ImageText(NamedTuple):
    """Pictures with one text each; row i of both belong together."""

    image: Float[Tensor, "b c y x"]
    text: Ids


class ImageLabel(NamedTuple):
    """Pictures with the index of their class."""

    image: Float[Tensor, "b c y x"]
    label: Int[Tensor, " b"]


class Joint(NamedTuple):
    """Pictures, in whichever form the net sees them, each with a text to be read beside it."""

    image: Pictured
    text: Ids


class JointPair(NamedTuple):
    """Two pictures to a text: statements about both (NLVR2)."""

    image: Pictured
    second: Pictured
    text: Ids


class Phrases(NamedTuple):
    """Phrases of texts, to be found in the pictures: the place of each one's last word piece in
    `of.text.ids`, and the row of `of` that it stands in."""

    of: Joint
    place: Int[Tensor, " p"]
    row: Int[Tensor, " p"]


class Answered(NamedTuple):
    """A question with one right answer: a class, or the place of the right region (grounding)."""

    of: Joint | JointPair
    label: Int[Tensor, " b"]


class Scored(NamedTuple):
    """A question whose answers have shares of being right (VQA's soft scores)."""

    of: Joint | JointPair
    score: Float[Tensor, "b v"]


class Choices(NamedTuple):
    """Candidates in groups of one size s: rows g s to g s + s - 1 of `of` are those of group g."""

    of: Joint
    label: Int[Tensor, " g"]


class Detections(NamedTuple):
    """What the detector said of each region, in the order of a `Regions`.

    `probs` are its probabilities of all classes (v is 0 where only the best was kept); the others
    its best class and attribute, and how sure it was of each.
    """

    probs: Float[Tensor, "r v"]
    label: Int[Tensor, " r"]
    score: Float[Tensor, " r"]
    attribute: Int[Tensor, " r"]
    attribute_score: Float[Tensor, " r"]


class Detected(NamedTuple):
    """Pictures as regions, with texts, and what the detector said of the regions."""

    of: Joint
    said: Detections


class Read(NamedTuple):
    """What a net that reads texts alone says: a state a token, and one vector a text."""

    text: Tokens
    pooled: Float[Tensor, "b e"]


class Fused(NamedTuple):
    """What a net that reads both says: states of words, of the picture's tokens, and one vector.

    Both lie end to end where the batch did (`at` is their `Ragged`), in the batch's order: state
    `text.x[0, i]` is that of `batch.text.ids[i]`, `image.x[0, i]` that of region i.
    """

    text: Tokens
    image: Tokens
    pooled: Float[Tensor, "b e"]


class Scenes(NamedTuple):
    """Pictures with their objects; m is the most objects of a picture, places beyond are empty.

    Pictures are padded at the right and the bottom to the largest; `size` is the true one. `seed`
    draws what a step looks at, picture by picture, so that it does not depend on the batch.
    """

    image: Float[Tensor, "b c y x"]
    size: Int[Tensor, "b 2"]  # height, width
    boxes: Float[Tensor, "b m 4"]  # in pixels of `image`
    labels: Int[Tensor, "b m"]  # -1: an empty place
    attributes: Int[Tensor, "b m"] | None  # -1: not known; None: the data set names none
    crowd: Bool[Tensor, "b m"]
    seed: Int[Tensor, " b"]


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
class Reads(Protocol):
    """Reads texts; `heads` answer from what it says of them."""

    heads: nn.ModuleDict

    def read(self, text: Ids) -> Read: ...


@runtime_checkable
class Fuses(Protocol):
    """Reads pictures and texts together; `heads` answer from what it says of them.

    `ask` gives the answer of a head of fine-tuning (see `nn.heads`) to a batch of its type.
    """

    heads: nn.ModuleDict

    def fuse(self, batch: Joint) -> Fused: ...
    def ask(self, head: str, batch: Joint | JointPair | Phrases) -> Tensor: ...


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
