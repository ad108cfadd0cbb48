"""What LLaVA's stages train, token by token, beside the authors' own code.

golden/llava-labels.json is what `preprocess_v1`, `preprocess_llama_2` and `preprocess_plain` of
llava/train/train.py (github.com/haotian-liu/LLaVA) make of ragged conversations, with pictures and
without: ids, in which -200 is a picture, and labels, in which -100 is not trained.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sensorium.data.chat import Message
from sensorium.data.conversations import Conversation, encoded, template_of
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.pieces import SentencePieces, Table
from sensorium.datasets.llava import entry

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "llava-labels.json").read_text()
)
SPECIALS = {"<unk>": 0, "<s>": 1, "</s>": 2}
WORDS = SentencePieces(Table(GOLDEN["names"], GOLDEN["scores"], SPECIALS, 1, 2, None))
PICTURE, MASKED, LONGEST = -200, -100, 2048


class Told(NamedTuple):
    """A conversation as one code trains it."""

    ids: list[int]
    labels: list[int]

    @property
    def learnt(self) -> list[int]:
        """The trained tokens alone."""
        return [id for id in self.labels if id != MASKED]


def cases(kind: str, legacy: bool) -> list[dict[str, Any]]:
    found = (GOLDEN["cases"], kind, legacy)
    return [c for c in found[0] if (c["kind"], c["legacy"]) == found[1:]]


def name(case: dict[str, Any]) -> str:
    return f"{case['template']}: {case['row']['id']}"


def theirs(case: dict[str, Any]) -> Told:
    return Told(case["ids"], case["labels"])


def ours(case: dict[str, Any]) -> Told:
    """The same conversation through our reader, template and audit; a picture is one token."""
    read = entry(case["row"], case["row"]["id"])
    system = [Message("system", GOLDEN["system"])] if case["template"] != "plain" else []
    said = Conversation((*system, *read.messages), (b"",) * len(read.files), read.id)
    made = encoded(said, WORDS, template_of(case["template"]), 1, LONGEST)
    ids = [PICTURE if place in made.holes else id for place, id in enumerate(made.ids)]
    return Told(ids, [a if b else MASKED for a, b in zip(ids, made.learnt, strict=True)])


@pytest.mark.parametrize("case", cases("same", True), ids=name)
def test_ids_and_labels_are_the_authors(case: dict[str, Any]) -> None:
    assert ours(case) == theirs(case)
    assert theirs(case).learnt  # their code has not given the sample up


def test_every_template_has_pictures_and_several_rounds() -> None:
    found = cases("same", True)
    assert {c["template"] for c in found} == {"vicuna", "llama-2", "plain"}
    for template in ("vicuna", "llama-2"):
        rows = [c["row"] for c in found if c["template"] == template]
        assert {"image" in row for row in rows} == {True, False}
        assert {len(row["conversations"]) for row in rows} >= {2, 4, 6, 8}


@pytest.mark.parametrize("case", cases("same", False), ids=name)
def test_where_a_new_text_begins_behind_a_mark_only_what_is_masked_differs(
    case: dict[str, Any],
) -> None:
    """LLaMA's tokenizer with `legacy` off puts no space before a text behind </s> or <s>.

    Ours puts one, as it is by default. So a later user's turn begins with other tokens, which are
    not trained; what is trained is the same, and so is everything else.
    """
    mine, other = ours(case), theirs(case)
    assert mine.learnt == other.learnt and other.learnt

    def rounds(ids: list[int]) -> list[list[int]]:
        out: list[list[int]] = [[]]
        for id in ids:
            out[-1].append(id)
            if id == SPECIALS["</s>"]:
                out.append([])
        return out

    mine_, other_ = rounds(mine.ids), rounds(other.ids)
    assert mine_[0] == other_[0] and len(mine_) == len(other_)
    for a, b in zip(mine_[1:], other_[1:], strict=True):
        assert a == b == [] or (a != b and a[-2:] == b[-2:])
        assert spelt(a) == spelt(b)


def spelt(ids: list[int]) -> str:
    """The text of ids, without spaces around it; a picture is nothing."""
    return WORDS.decode(id for id in ids if id != PICTURE).strip()


def odd(template: str, row: str) -> dict[str, Any]:
    (found,) = (c for c in cases("odd", True) if (c["template"], c["row"]["id"]) == (template, row))
    return found


def test_a_roles_name_or_a_mark_typed_gives_no_sample_up() -> None:
    """Their code finds other lengths than it expects, and masks all of the sample; ours trains it.

    Typed "</s>" is the end itself to their tokenizer, and letters to ours.
    """
    for template, row, same in (
        ("vicuna", "a name typed", True),
        ("vicuna", "an end typed", False),
        ("llama-2", "an end typed", False),
    ):
        case = odd(template, row)
        mine, other = ours(case), theirs(case)
        assert not other.learnt and (mine.ids == other.ids) is same
        answers = [t["value"] for t in case["row"]["conversations"] if t["from"] == "gpt"]
        assert mine.learnt.count(SPECIALS["</s>"]) == len(answers)
        said = WORDS.decode(i for i in mine.learnt if i != SPECIALS["</s>"])
        assert said.split() == " ".join(answers).split()
    assert ours(odd("llama-2", "a name typed")) == theirs(odd("llama-2", "a name typed"))


def test_spaces_around_a_turn_are_left_out_of_llama_2_alone() -> None:
    """As in the template that Meta publishes; the authors' training keeps them."""
    assert ours(odd("vicuna", "spaces around")) == theirs(odd("vicuna", "spaces around"))
    case = odd("llama-2", "spaces around")
    mine, other = ours(case), theirs(case)
    space = GOLDEN["names"].index("▁")
    assert mine != other

    def dense(ids: list[int]) -> list[int]:
        return [id for id in ids if id != space]

    assert dense(mine.learnt) == dense(other.learnt)


def test_what_their_code_cuts_or_skips_is_refused() -> None:
    """They cut at 2048 tokens, and skip a first turn that is not a human's."""
    long = {
        "id": "long",
        "conversations": [dict(cases("same", True)[0]["row"]["conversations"][0])],
    }
    long["conversations"].append({"from": "gpt", "value": "yes " * LONGEST})
    case = {"template": "vicuna", "row": long}
    with pytest.raises(DataError, match=r"long: .*answer 1 of 1 would be cut"):
        ours(case)
    first = {"id": "first", "conversations": long["conversations"][::-1]}
    with pytest.raises(DataError, match="it is the user's turn"):
        ours({"template": "vicuna", "row": first})
