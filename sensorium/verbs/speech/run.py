"""Many recordings at once: their windows are encoded and transcribed together."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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
from sensorium.nn.mel import RATE
from sensorium.verbs.speech.longform import Answer, Ask, How, Listening, listening
from sensorium.verbs.speech.result import Failure, Segment, Transcript
from sensorium.verbs.speech.track import Track
from sensorium.verbs.speech.voice import Clock, only, remembered, spoken_parts
from sensorium.verbs.speech.words import Aligner

BATCH = 8  # windows at a time


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


class _One(NamedTuple):
    """A recording on its way."""

    place: int
    name: str
    track: Track
    language: str
    chance: float
    steps: Listening
    clock: Clock | None
    seconds: float


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
    how = checked(model, how)
    called = [str(s) if isinstance(s, str) else f"sound {i}" for i, s in enumerate(sources)]
    called = list(names) if names is not None else called
    out: dict[int, Transcript | Failure] = {}
    waiting = list(enumerate(sources))[::-1]
    live: dict[int, _One] = {}
    asks: dict[int, Ask] = {}
    memories: dict[int, Tensor] = {}
    while waiting or asks:
        while waiting and len(asks) < batch:
            place, source = waiting.pop()
            try:
                one = begun(model, source, place, called[place], how)
            except MediaError as wrong:
                out[place] = Failure(called[place], str(wrong))
                continue
            live[place] = one
            moved(one, None, live, asks, out)
        for place, answer in answers(model, asks, memories, how).items():
            one = live[place]
            try:
                moved(one, answer, live, asks, out)
            except MediaError as wrong:
                out[place] = Failure(one.name, str(wrong))
                del live[place], asks[place]
        for place in set(memories) - set(asks):
            del memories[place]
        if progress is not None:
            progress(len(out), len(sources))
    return [out[place] for place in range(len(sources))]


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
    if how.words and not model.heads:
        raise ValueError("word times need a model that says which of its heads follow the speech")
    return how._replace(language=language)


def begun(model: Hearing, source: AudioSource, place: int, name: str, how: How) -> _One:
    """A recording opened, its language known."""
    mels = model.net.get_submodule("embed.conv1").get_parameter("weight").shape[1]
    read, clock = remembered(lambda: audio_blocks(source, name=name)), None
    if how.voice is not None:
        kept = spoken_parts(read(), how.voice)
        clock = Clock(kept)
        track = Track(lambda: only(read(), kept), mels)
        seconds = sum(len(block) for block in read()) / RATE
    else:
        track = Track(read, mels)
        seconds = track.samples / RATE
    language, chance = how.language, 1.0
    if language is None and clock is not None and not clock.kept:
        language, chance = "en", 0.0
    elif language is None:
        language, chance = told(model, track)
    aligner = Aligner(model.net, model.spoken, model.heads, how.task) if how.words else None
    steps = listening(track, model.spoken, language, how, model.net.length, aligner)
    return _One(place, name, track, language, chance, steps, clock, seconds)


@torch.inference_mode()
def told(model: Hearing, track: Track) -> tuple[str, float]:
    """The likeliest language of a recording's first 30 s, and how likely it is."""
    spoken = model.spoken
    memory = model.net.encode(placed(model, [track.beginning()]))
    chances = language_chances(model.net, memory, spoken.sot, list(spoken.languages.values()))[0]
    best = int(chances.argmax())
    return list(spoken.languages)[best], float(chances[best])


def placed(model: Hearing, mels: Sequence[Float[Tensor, "m f"]]) -> Float[Tensor, "b m f"]:
    """Windows as the net reads them."""
    parameter = next(model.net.parameters())
    return torch.stack([*mels]).to(parameter.device, parameter.dtype)


def moved(
    one: _One,
    answer: Answer | None,
    live: dict[int, _One],
    asks: dict[int, Ask],
    out: dict[int, Transcript | Failure],
) -> None:
    """Takes a recording to its next question, or to its end."""
    try:
        asks[one.place] = next(one.steps) if answer is None else one.steps.send(answer)
    except StopIteration as end:
        segments: list[Segment] = end.value
        if one.clock is not None:
            segments = [one.clock.moved(segment) for segment in segments]
        text = "".join(s.text for s in segments)
        out[one.place] = Transcript(
            text.strip(), tuple(segments), one.language, one.chance, one.seconds
        )
        del live[one.place]
        asks.pop(one.place, None)


@torch.inference_mode()
def answers(
    model: Hearing, asks: dict[int, Ask], memories: dict[int, Tensor], how: How
) -> dict[int, Answer]:
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
    rules = Rules(marks, first=round(how.first / STEP) if how.first else None)
    out: dict[int, Answer] = {}
    for search in {ask.search for ask in asks.values()}:
        places = [place for place, ask in asks.items() if ask.search == search]
        memory = torch.cat([memories[place] for place in places])
        prompts = [asks[place].prompt for place in places]
        said = transcripts(model.net, memory, prompts, rules, search)
        out |= {
            place: Answer(one, memories[place]) for place, one in zip(places, said, strict=True)
        }
    return out
