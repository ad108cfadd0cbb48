"""Rules, search and alignment of transcripts, beside their slow and obvious twins."""

import itertools

import numpy as np
import pytest
import torch

from sensorium.data.ragged import lay
from sensorium.models.whisper import TINY
from sensorium.nn.hear.align import path, smoothed
from sensorium.nn.hear.rules import Marks, Rules
from sensorium.nn.hear.search import Search, transcripts
from sensorium.nn.voice import CHUNK, VoiceDetector
from tests.models.drawn import state

MARKS = Marks(
    sot=41,
    eot=40,
    stamp=60,
    no_stamps=59,
    no_speech=58,
    forbidden=(3, *range(41, 59)),
    blank=(7, 40),
)
PROMPTS = [[41, 50], [45, 11, 12, 41, 50], [45, 9, 41, 50]]


def net():
    made = TINY.build().eval()
    made.load_state_dict({k: 3 * v for k, v in state(shapes(made)).items()})
    return made


def shapes(made) -> dict:
    return {k: v.shape for k, v in made.state_dict().items()}


def memory(made, rows: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return made.encode(torch.randn(rows, 80, 40, generator=g))


@pytest.mark.parametrize(
    "how",
    [
        Search(most=20),
        Search(most=20, beams=3),
        Search(most=20, beams=2, patience=2.0, alpha=0.6),
        Search(most=20, temperature=0.7, best_of=3, seed=5),
    ],
)
def test_windows_together_are_what_they_are_alone(how: Search) -> None:
    made, rules = net(), Rules(MARKS, first=10)
    heard = memory(made, 3)
    together = transcripts(made, heard, PROMPTS, rules, how)
    for row, prompt in enumerate(PROMPTS):
        (alone,) = transcripts(made, heard[row : row + 1], [prompt], rules, how)
        if how.temperature == 0:
            assert alone.ids == together[row].ids
            assert abs(alone.total - together[row].total) < 1e-4
        assert abs(alone.no_speech - together[row].no_speech) < 1e-6


def test_greedy_is_the_obvious_loop() -> None:
    made, rules = net(), Rules(MARKS, first=10)
    heard = memory(made, 1)
    found = transcripts(made, heard, [PROMPTS[1]], rules, Search(most=20))[0]
    ids: list[int] = []
    total = 0.0
    while len(ids) < 20:
        text = torch.tensor([*PROMPTS[1], *ids])
        with torch.inference_mode():
            scores = made(heard_again(1), lay([text.tolist()]))[-1:]
        allowed = rules(scores.clone(), [ids])
        token = int(allowed.argmax())
        total += float(allowed.log_softmax(-1)[0, token])
        if token == MARKS.eot:
            break
        ids.append(token)
    assert found.ids == ids and abs(found.total - total) < 1e-4


def heard_again(rows: int) -> torch.Tensor:
    return torch.randn(rows, 80, 40, generator=torch.Generator().manual_seed(0))


def test_timestamps_come_in_pairs_and_never_go_back() -> None:
    made, rules = net(), Rules(MARKS, first=10)
    for seed in range(4):
        how = Search(most=40, temperature=1.0, seed=seed)
        for said in transcripts(made, memory(made, 3), PROMPTS, rules, how):
            stamps = [i for i in said.ids if i >= MARKS.stamp]
            assert MARKS.stamp <= said.ids[0] <= MARKS.stamp + 10
            assert stamps == sorted(stamps)
            assert not {3, 41, 58, 59} & set(said.ids)
            runs = [len([*g]) for k, g in itertools.groupby(i >= 60 for i in said.ids) if k]
            assert runs[0] == 1 and all(run == 2 for run in runs[1:-1])


def test_a_prompt_must_start_a_transcript() -> None:
    made = net()
    with pytest.raises(ValueError, match="prompt of 2 tokens"):
        transcripts(made, memory(made, 1), [[1, 2]], Rules(MARKS))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 9), (17, 40)])
def test_the_cheapest_path_is_that_of_the_plain_table(shape: tuple[int, int]) -> None:
    cost = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float64)
    rows, columns = path(cost)
    n, m = shape
    best = np.full((n + 1, m + 1), np.inf, np.float32)
    best[0, 0], move = 0, np.zeros((n + 1, m + 1), int)
    for j in range(1, m + 1):
        for i in range(1, n + 1):
            a, b, c = best[i - 1, j - 1], best[i - 1, j], best[i, j - 1]
            move[i, j] = 0 if a < b and a < c else 1 if b < a and b < c else 2
            best[i, j] = cost[i - 1, j - 1] + (a, b, c)[move[i, j]]
    move[0, :], move[:, 0] = 2, 1
    i, j, want = n, m, []
    while i or j:
        want.append((i - 1, j - 1))
        i, j = i - (move[i, j] != 2), j - (move[i, j] != 1)
    assert [*zip(rows.tolist(), columns.tolist(), strict=True)] == want[::-1]


def test_the_median_of_neighbours_is_mirrored_at_the_ends() -> None:
    x = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    wide = torch.cat([x[..., 1:4].flip(-1), x, x[..., -4:-1].flip(-1)], dim=-1)
    want = torch.stack([wide[..., i : i + 7].median(-1).values for i in range(9)], dim=-1)
    assert torch.equal(smoothed(x), want)


def test_the_voice_detector_by_blocks_is_the_one_of_the_whole() -> None:
    torch.manual_seed(0)
    detector = VoiceDetector().eval()
    samples = torch.randn(6 * CHUNK, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, _ = detector(samples, detector.start())
        first, then = detector(samples[: 2 * CHUNK], detector.start())
        rest, _ = detector(samples[2 * CHUNK :], then)
    assert (torch.cat([first, rest]) - whole).abs().max() < 1e-6
    with pytest.raises(ValueError, match="whole steps"):
        detector(samples[:100], detector.start())
