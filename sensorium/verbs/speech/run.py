"""Many recordings at once: their windows are encoded and transcribed together."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.data.tokenizers.spoken import STEP, Spoken, language_code
from sensorium.data.tokenizers.words import Words
from sensorium.forms.listener import Listener
from sensorium.media.audio import AudioSource, audio_blocks
from sensorium.media.budget import MediaError
from sensorium.nn.hear.rules import Marks, Rules
from sensorium.nn.hear.search import language_chances, transcripts
from sensorium.nn.mel import HOP, RATE
from sensorium.verbs.speech.longform import Answer, Ask, How, Listening, listening
from sensorium.verbs.speech.pieces import Part, pieces
from sensorium.verbs.speech.result import Failure, Segment, Transcript
from sensorium.verbs.speech.track import Track
from sensorium.verbs.speech.voice import Clock, only, remembered, spoken_parts
from sensorium.verbs.speech.words import Aligner

BATCH = 8  # windows at a time
K = TypeVar("K", bound=Hashable)


class Hearing(NamedTuple):
    """A model that transcribes: its net, what its ids mean, and the heads that word times need."""

    net: Listener
    spoken: Spoken
    heads: tuple[tuple[int, int], ...]


def hearing(net: nn.Module, words: Words | None, heads: Iterable[Sequence[int]]) -> Hearing:
    """The model as one that transcribes.

    Raises:
        ValueError: it is none, or has no tokenizer.
    """
    if not isinstance(net, Listener):
        raise ValueError("this model transcribes nothing: give the checkpoint of a Whisper")
    if not isinstance(words, ByteLevel):
        raise ValueError("this model has no tokenizer: its ids cannot become a text")
    return Hearing(net, Spoken(words), tuple((int(layer), int(head)) for layer, head in heads))


def aligned_heads(args: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    """The heads that word times are read off, from a model's arguments; those of a model with
    additions are the other model's."""
    of = args.get("of")
    return (of["args"] if isinstance(of, dict) else args).get("aligned", ())


class Opened(NamedTuple):
    """A recording, its language known."""

    name: str
    track: Track
    language: str
    chance: float
    clock: Clock | None
    seconds: float


Key = tuple[int, int]  # a recording and a part of it


def transcribe(
    model: Hearing,
    sources: Sequence[AudioSource],
    how: How,
    batch: int = BATCH,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Transcript | Failure]:
    """What was said in each recording, in their order; one that fails does not stop the others.

    Raises:
        ValueError: the language, the task or another setting is not one the model has.
    """
    called = [str(s) if isinstance(s, str) else f"sound {i}" for i, s in enumerate(sources)]
    called = list(names) if names is not None else called
    desk = _Desk(model, checked(model, how), list(zip(called, sources, strict=True)), batch)
    memories: dict[Key, Tensor] = {}
    while True:
        while len(desk.asks) < batch and desk.begin():
            pass
        if not desk.asks:
            break
        for key, answer in answers(model, desk.asks, memories, desk.how).items():
            desk.move(key, answer)
        for key in set(memories) - set(desk.asks):
            del memories[key]
        if progress is not None:
            progress(len(desk.out), len(sources))
    return [desk.out[place] for place in range(len(sources))]


class _Desk:
    """Recordings on their way: which are open, what their parts ask for, and what is done."""

    def __init__(
        self, model: Hearing, how: How, sources: list[tuple[str, AudioSource]], batch: int
    ):
        self.model, self.how, self.batch = model, how, batch
        self.waiting = deque(enumerate(sources))
        self.open: dict[int, Opened] = {}
        self.said: dict[int, dict[int, list[Segment]]] = {}
        self.current: tuple[int, Iterator[tuple[int, Track | Part]]] | None = None
        self.steps: dict[Key, Listening] = {}
        self.starts: dict[Key, int] = {}
        self.asks: dict[Key, Ask] = {}
        self.out: dict[int, Transcript | Failure] = {}

    def begin(self) -> bool:
        """Begins a part more, or opens or ends a recording; False: nothing is left to begin."""
        if self.current is None:
            if not self.waiting:
                return False
            place, (name, source) = self.waiting.popleft()
            try:
                opened = begun(self.model, source, name, self.how, self.batch + 2)
            except MediaError as wrong:
                self.out[place] = Failure(name, str(wrong))
                return True
            parts = pieces(opened.track) if self.how.cut else iter([opened.track])
            self.open[place], self.said[place] = opened, {}
            self.current = place, enumerate(parts)
        place, rest = self.current
        opened = self.open[place]
        try:
            number, part = next(rest, (-1, opened.track))
        except MediaError as wrong:
            self.fail(place, wrong)
            return True
        if number < 0:
            self.current = None
            self.close(place)
            return True
        model, how = self.model, self.how
        aligner = Aligner(model.net, model.spoken, model.heads, how.task) if how.words else None
        length = model.net.length
        steps = listening(part, model.spoken, opened.language, how, length, aligner)
        self.steps[place, number] = steps
        self.starts[place, number] = part.start if isinstance(part, Part) else 0
        self.move((place, number), None)
        return True

    def move(self, key: Key, answer: Answer | None) -> None:
        """Takes a part to its next question, or to its end."""
        if key not in self.steps:  # its recording failed meanwhile
            return
        steps = self.steps[key]
        try:
            self.asks[key] = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            shift = self.starts[key] * HOP / RATE
            self.said[key[0]][key[1]] = [later(segment, shift) for segment in end.value]
            del self.steps[key]
            self.asks.pop(key, None)
            self.close(key[0])
        except MediaError as wrong:
            self.fail(key[0], wrong)

    def close(self, place: int) -> None:
        """Ends a recording all of whose parts are done."""
        busy = self.current is not None and self.current[0] == place
        if busy or place not in self.open or any(key[0] == place for key in self.steps):
            return
        opened = self.open.pop(place)
        said = self.said.pop(place)
        segments = [segment for number in sorted(said) for segment in said[number]]
        if opened.clock is not None:
            segments = [opened.clock.moved(segment) for segment in segments]
        text = "".join(s.text for s in segments).strip()
        rest = (opened.language, opened.chance, opened.seconds)
        self.out[place] = Transcript(text, tuple(segments), *rest)

    def fail(self, place: int, wrong: MediaError) -> None:
        """Ends a recording that cannot be read on."""
        self.out[place] = Failure(self.open.pop(place).name, str(wrong))
        del self.said[place]
        for key in [key for key in self.steps if key[0] == place]:
            del self.steps[key]
            self.asks.pop(key, None)
        if self.current is not None and self.current[0] == place:
            self.current = None


def later(segment: Segment, shift: float) -> Segment:
    """A segment of a part at the recording's times."""
    if not shift:
        return segment
    words = [
        w._replace(start=round(w.start + shift, 2), end=round(w.end + shift, 2))
        for w in segment.words
    ]
    start, end = segment.start + shift, segment.end + shift
    return segment._replace(start=start, end=end, words=tuple(words))


def checked(model: Hearing, how: How) -> How:
    """The settings, the language as its code."""
    language = how.language and language_code(how.language)
    if language is None and not model.spoken.many:
        language = "en"
    model.spoken.start(language or "en", how.task)
    if not how.temperatures or min(how.temperatures) < 0:
        raise ValueError("temperatures must be a list of numbers, 0 or above")
    if how.beams < 1 or how.best_of < 1 or not 0 < how.patience < 100:
        raise ValueError("beams and best_of are at least 1, patience is above 0")
    if how.doubt is not None and not (how.words and how.doubt > 0):
        raise ValueError("doubt is a number of seconds above 0, and needs word times (words=True)")
    if how.words and not model.heads:
        raise ValueError("word times need a model that says which of its heads follow the speech")
    return how._replace(language=language)


def begun(model: Hearing, source: AudioSource, name: str, how: How, back: int) -> Opened:
    """A recording opened, its language known."""
    mels, size = reads(model)
    read, clock = remembered(lambda: audio_blocks(source, name=name)), None
    back = back if how.cut else 2
    if how.voice is not None:
        kept = spoken_parts(read(), how.voice)
        clock = Clock(kept)
        track = Track(lambda: only(read(), kept), mels, size, back)
        seconds = sum(len(block) for block in read()) / RATE
    else:
        track = Track(read, mels, size, back)
        seconds = track.samples / RATE
    language, chance = how.language, 1.0
    if language is None and clock is not None and not clock.kept:
        language, chance = "en", 0.0
    elif language is None:
        language, chance = told(model, track.beginning())
    return Opened(name, track, language, chance, clock, seconds)


def reads(model: Hearing) -> tuple[int, int]:
    """Mel bins and frames of a window."""
    net = model.net
    return net.get_parameter("embed.conv1.weight").shape[1], 2 * len(net.get_buffer("embed.pos"))


@torch.inference_mode()
def told(model: Hearing, mel: Float[Tensor, "m f"]) -> tuple[str, float]:
    """The likeliest language of a recording's first window, and how likely it is."""
    spoken = model.spoken
    memory = model.net.encode(placed(model, [mel]))
    chances = language_chances(model.net, memory, spoken.sot, list(spoken.languages.values()))[0]
    best = int(chances.argmax())
    return list(spoken.languages)[best], float(chances[best])


def placed(model: Hearing, mels: Sequence[Float[Tensor, "m f"]]) -> Float[Tensor, "b m f"]:
    """Windows as the net reads them."""
    parameter = next(model.net.parameters())
    return torch.stack([*mels]).to(parameter.device, parameter.dtype)


@torch.inference_mode()
def answers(
    model: Hearing, asks: Mapping[K, Ask], memories: dict[K, Tensor], how: How
) -> dict[K, Answer]:
    """What is said in all windows asked for; those searched alike go together."""
    fresh = [(place, ask.mel) for place, ask in asks.items() if ask.mel is not None]
    if fresh:
        made = model.net.encode(placed(model, [mel for _, mel in fresh]))
        memories |= {place: made[i : i + 1] for i, (place, _) in enumerate(fresh)}
    spoken = model.spoken
    marks = Marks(
        *(spoken.sot, spoken.eot, spoken.stamp, spoken.no_stamps, spoken.no_speech),
        tuple(spoken.forbidden(how.suppress)),
        tuple(spoken.blank()),
    )
    rules = Rules(marks, how.stamps, round(how.first / STEP) if how.first else None)
    out: dict[K, Answer] = {}
    for search in {ask.search for ask in asks.values()}:
        places = [place for place, ask in asks.items() if ask.search == search]
        memory = torch.cat([memories[place] for place in places])
        prompts = [asks[place].prompt for place in places]
        said = transcripts(model.net, memory, prompts, rules, search)
        out |= {
            place: Answer(one, memories[place]) for place, one in zip(places, said, strict=True)
        }
    return out
