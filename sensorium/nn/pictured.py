"""Pictures that stand in texts, token by token among the words."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from sensorium.types import Ids


class Pictures(NamedTuple):
    """The pictures of texts laid end to end (`types.Ids`), which may have none, one or several.

    Each picture makes as many tokens as the net cuts it into, whose ids mean nothing (LLaVA), or is
    one token that stands for it (Flamingo, which reads clips too: f frames of each).
    """

    image: Float[Tensor, "p *f c y x"]
    place: Int[Tensor, " k"]  # where in the texts each of their tokens stands, picture by picture


@runtime_checkable
class Behind(Protocol):
    """Gives the states that scores are made of, so that only those that are wanted are scored.

    With a large vocabulary scores are most of what a training step holds; of a conversation about a
    picture few tokens are learnt.
    """

    def behind(self, source: Any, text: Ids) -> Float[Tensor, "t d"]: ...
    def scores(self, x: Float[Tensor, "*t d"]) -> Float[Tensor, "*t v"]: ...
