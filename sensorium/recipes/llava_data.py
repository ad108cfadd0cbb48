"""What LLaVA's stages are trained on: captions, conversations, and the gate that they pass."""

from sensorium.data.chat import Message
from sensorium.data.conversations import MARK, Conversation
from sensorium.data.errors import DataError
from sensorium.datasets.asked import Questions
from sensorium.datasets.easy_vqa import easy_vqa, easy_vqa_shapes
from sensorium.datasets.llava import Conversations, Entry, about, llava
from sensorium.models.llava_inputs import ConversationInputs

ROUNDS = 2  # questions of a picture in a row: of more, the later are told from the earlier


def gate(found: Conversations, inputs: ConversationInputs) -> None:
    """Audits every conversation, so that nothing is trained on what was not meant.

    DataError: counts those that cannot be trained on, and says of the first ones why.
    """
    wrong = []
    for one in found.entries:
        try:
            inputs.encode(Conversation(one.messages, (), one.id))
        except DataError as why:
            wrong.append(str(why))
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(found)} conversations cannot be trained on:"
            f" {'; '.join(wrong[:3])}. See them with: sensorium data inspect"
        )


def captions(data: str) -> Conversations:
    """What pictures show, in a sentence each; of a file the first answer of each conversation."""
    if data == "easy_vqa":
        shapes = easy_vqa_shapes(part="train")
        entries = []
        for file, things, name in zip(shapes.files, shapes.things, shapes.ids, strict=True):
            one = things[0]
            colour = f"{one.attribute} " if one.attribute is not None else ""
            said = f"a {colour}{one.label}"
            turns = (Message("user", MARK), Message("assistant", said))
            entries.append(Entry((file,), turns, name))
        return Conversations(shapes.root, entries)
    found = llava(data)
    shown = [one for one in found.entries if one.files]
    if not shown:
        raise DataError(f"{data}: no conversation shows a picture: there is nothing to align with")
    return Conversations(found.root, [one._replace(messages=first(one)) for one in shown])


def first(one: Entry) -> tuple[Message, ...]:
    """A conversation's first round."""
    turns = [m for m in one.messages if m.role != "system"]
    return turns[0], turns[1]


def talks(data: str) -> Conversations:
    """Conversations; of easy-VQA all questions of a picture in one."""
    if data == "easy_vqa":
        asked: Questions = easy_vqa(part="train")
        return about(asked, ROUNDS)
    return llava(data)
