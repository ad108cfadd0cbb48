"""What a transcription gives."""

from typing import Any, NamedTuple


class Word(NamedTuple):
    """A word as it is written, with the space before it; times in seconds."""

    text: str
    start: float
    end: float
    probability: float


class Segment(NamedTuple):
    """A piece of a transcript; times in seconds.

    Attributes:
        ids: its tokens, timestamps included.
        mean_logprob, ratio, no_speech: of the window it is from: log p a token, how well the text
            packs (above 2.4 it repeats itself), and the probability that nobody spoke.
        temperature: the one it was said at.
        words: empty where no word times were asked for.
    """

    start: float
    end: float
    text: str
    ids: tuple[int, ...]
    mean_logprob: float
    ratio: float
    no_speech: float
    temperature: float
    words: tuple[Word, ...] = ()

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        said = {k: v for k, v in self._asdict().items() if k not in ("ids", "words")}
        return {
            **said,
            "ids": list(self.ids),
            "words": [{**w._asdict(), "text": w.text.strip()} for w in self.words],
        }


class Transcript(NamedTuple):
    """What was said in a recording.

    Attributes:
        chance: how probable the language is; 1 where it was given.
        seconds: length of the recording.
    """

    text: str
    segments: tuple[Segment, ...]
    language: str
    chance: float
    seconds: float

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments; empty where no word times were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "text": self.text,
            "language": self.language,
            "language_probability": self.chance,
            "seconds": self.seconds,
            "segments": [segment.told() for segment in self.segments],
        }


class Failure(NamedTuple):
    """A recording that could not be transcribed, and why."""

    name: str
    reason: str
