"""The one root that is sharded, compiled, differentiated: a net and what is asked of it."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from sensorium.types import Objective


class Step(nn.Module):
    """A net and its objectives. Objectives that learn something of their own are modules too."""

    def __init__(self, net: nn.Module, objectives: Mapping[str, Objective]):
        super().__init__()
        self.net = net
        self.asked = dict(objectives)
        self.objectives = nn.ModuleDict(
            {name: o for name, o in objectives.items() if isinstance(o, nn.Module)}
        )

    def forward(self, questions: Mapping[str, Any], mark: bool) -> dict[str, Any]:
        """For each question the net's answers or, with `mark`, the sums of its losses."""
        said = {}
        for name, question in questions.items():
            answers = self.asked[name].encode(self.net, question)
            said[name] = self.asked[name].mark(answers, question) if mark else answers
        return said
