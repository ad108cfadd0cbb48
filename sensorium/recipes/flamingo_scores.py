"""What a trained Flamingo is scored on: new documents, with their pictures and with others'."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sensorium.datasets import documents
from sensorium.forms.gated import Gated
from sensorium.models.flamingo_inputs import DocumentInputs
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.verbs.model import Model

MOST = 40  # documents of a set
TESTS = {"openstax": documents.openstax, "storybooks": documents.storybooks}


class Heard(NamedTuple):
    """The loss of documents that training did not see, by set.

    Args:
        mixture: the recipe's; of its sets those that have a test part count.
    """

    mixture: str

    def samples(self) -> Sequence[Any]:
        """None: its probes are made of drawn pictures."""
        return ()

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        names = [name for name in TESTS if f"{name}=" in self.mixture]
        found = {}
        for number, name in enumerate(names, 1):
            found[name] = losses(model, TESTS[name](part="test"))
            say(number, len(names))
        return {"loss of new documents": found}


@torch.inference_mode()
def losses(model: Model, of: documents.Documents) -> dict[str, float]:
    """The mean loss of learnt tokens, with a document's pictures and with those of others."""
    net, words = model.net, model.words
    assert isinstance(net, Gated) and words is not None
    inputs = DocumentInputs(model.transform, words, min(256, net.length))
    items = [inputs(of[i], None) for i in range(min(MOST, len(of)))]
    parameter = next(net.parameters())
    sums = {"own pictures": 0.0, "others' pictures": 0.0}
    count, objective = 0, NextToken()
    for start in range(0, len(items), 8):
        text, learnt, seen = inputs.batch(items[start : start + 8])
        image = seen.image.to(parameter.device, parameter.dtype)
        text = text._replace(
            **{k: x.to(parameter.device) for k, x in text._asdict().items() if x is not None}
        )
        for name, shown in (("own pictures", image), ("others' pictures", image.roll(7, 0))):
            place = seen.place.to(parameter.device)
            lesson = Lesson(text, learnt.to(parameter.device), Pictures(shown, place))
            marked = objective.mark(objective.encode(net, lesson), lesson)["next"]
            sums[name] += float(marked)
        count += objective.count(lesson)["next"]
    return {name: round(value / count, 4) for name, value in sums.items()}
