"""Pictures that stand in texts, token by token among the words."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Pictures(NamedTuple):
    """The pictures of texts laid end to end (`types.Ids`), which may have none, one or several.

    Each picture makes as many tokens as the net cuts it into. The ids at their places mean nothing.
    """

    image: Float[Tensor, "p c y x"]
    place: Int[Tensor, " k"]  # where in the texts each of their tokens stands, picture by picture
