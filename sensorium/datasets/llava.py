"""Conversations about pictures in LLaVA's JSON form (Liu et al. 2023), checked as a whole.

A list of {"id": ..., "image": "a.jpg" (or a list of names, or nothing), "conversations": [{"from":
"human", "value": "<image>\\nWhat is this?"}, {"from": "gpt", "value": "A cat."}]}; or one such
object a line in a .jsonl file. In what a human says, "<image>" is the place of a picture; in an
answer it is seven letters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from sensorium.data.chat import Message, conversation
from sensorium.data.conversations import MARK, Conversation, fronted
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import readable
from sensorium.datasets.asked import Questions, whole
from sensorium.datasets.files import Inside, Rows, read, refuse
from sensorium.datasets.tables import jsonl, shown

IMAGE = "<image>"
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
ROLES |= {"system": "system"}


class Entry(NamedTuple):
    """A conversation whose pictures are still files."""

    files: tuple[str, ...]
    messages: tuple[Message, ...]
    id: str


@final
class Conversations(Rows[Conversation]):
    """Conversations about picture files below `root`."""

    def __init__(self, root: str | Path, entries: Sequence[Entry]):
        self.root, self.entries = str(root), entries

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Conversation:
        one = self.entries[i]
        return Conversation(one.messages, tuple(read(self.root, f) for f in one.files), one.id)

    @property
    def ids(self) -> list[str]:
        """What errors call each."""
        return [one.id for one in self.entries]


def llava(path: str | Path, root: str | Path | None = None) -> Conversations:
    """The conversations of a file.

    Args:
        root: where the pictures lie; the file's own folder when None.

    Raises:
        DataError: not such a file; conversations that cannot be used, all counted and the first
            ones named: a picture that is missing or outside of `root`, places that are not as many
            as the pictures, a role that is not known or speaks out of turn, no user's turn, an
            empty answer, ids used twice.
        OSError: it cannot be opened.
    """
    path = Path(path)
    said: Any = [row for _, row in jsonl(path)] if path.suffix == ".jsonl" else whole(path)
    if not isinstance(said, list) or not said:
        raise DataError(f"{path}: must be a list of conversations, with something in it")
    inside = Inside(path.parent if root is None else root)
    judged: dict[str, str] = {}
    entries, bad, seen = [], [], set()
    for number, row in enumerate(said):
        name = str(row.get("id", number)) if isinstance(row, dict) else str(number)
        try:
            one = entry(row, name)
            for file in one.files:
                if file not in judged:
                    judged[file] = inside.judge(file)[1]
                if judged[file]:
                    raise DataError(f"picture {file!r} {judged[file]}")
            if name in seen:
                raise DataError("this id is used twice")
            seen.add(name)
            entries.append(one)
        except DataError as wrong:
            bad.append(f"{number} ({name[:40]}): {wrong}")
    remedy = "Mend them or take them out; pictures are looked for below the folder given"
    refuse(path, "conversations cannot be used", bad, len(said), remedy)
    return Conversations(inside.root, entries)


def entry(row: Any, name: str) -> Entry:
    """One row, checked but for its pictures. DataError: it cannot be used."""
    if not isinstance(row, Mapping) or not isinstance(row.get("conversations"), list):
        raise DataError(f"must be an object with a list 'conversations', not {shown(row)}")
    image = row.get("image", [])
    files = [image] if isinstance(image, str) else image
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        raise DataError(f"'image' must be a name or a list of names, not {shown(image)}")
    messages = [_message(turn, place) for place, turn in enumerate(row["conversations"], start=1)]
    if not messages:
        raise DataError("it has no turns")
    checked = conversation(messages, reply=False)
    for place, one in enumerate(checked, start=1):
        if one.role == "assistant" and not one.text.strip():
            raise DataError(f"turn {place}: the answer is empty")
    places = sum(one.text.count(MARK) for one in checked)
    if places != len(files):
        raise DataError(f"{len(files)} pictures, and {places} times {IMAGE} in what the user says")
    return Entry(tuple(files), tuple(checked), name)


def _message(turn: Any, place: int) -> Message:
    if not isinstance(turn, Mapping) or not {"from", "value"} <= set(turn):
        raise DataError(f"turn {place} needs 'from' and 'value', it is {shown(turn)}")
    role, text = turn["from"], turn["value"]
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"turn {place} is of {role!r:.40}; known are {', '.join(ROLES)}")
    if not isinstance(text, str):
        raise DataError(f"turn {place}: 'value' must be a text, not {shown(text)}")
    text = readable(text, f"turn {place}")
    if ROLES[role] == "user":
        text = fronted(text.replace(IMAGE, MARK))
    return Message(ROLES[role], text)


def about(questions: Questions, rounds: int) -> Conversations:
    """Questions with one answer as conversations, all of a picture in one, of so many rounds each.

    What the picture shows is said once, in front of the first question.

    Raises:
        DataError: a question has no answer, several, or several pictures.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in questions.entries:
        if len(one.files) != 1 or len(one.answers) != 1:
            raise DataError(f"{one.id}: one picture and one answer are wanted, not {one.files}")
        groups.setdefault(one.files[0], []).append((one.text, one.answers[0]))
    entries = []
    for file, asked in groups.items():
        for start in range(0, len(asked), rounds):
            turns: list[Message] = []
            for question, answer in asked[start : start + rounds]:
                front = "" if turns else f"{MARK}\n"
                turns += [Message("user", front + question), Message("assistant", answer)]
            name = f"{file} from {start}" if start else file
            entries.append(Entry((file,), tuple(turns), name))
    return Conversations(questions.root, entries)
