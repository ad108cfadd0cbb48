"""A training step of LLaVA's second stage on conversations of unequal length, beside transformers.

    OMP_NUM_THREADS=1 python benchmarks/llava.py [--layers 30] [--rounds 5]

Both sides have the same random weights (a language model as wide as SmolLM2-135M, with its whole
vocabulary, and the small tower of `models.llava`), the same pictures and conversations, learn
answers alone, and step AdamW behind a clipped gradient in bfloat16 autocast; the tower is frozen.
The peer's conversations are padded to the longest, as its collators do. Losses and gradients are
compared in float32 before anything is timed, and losses in bfloat16; the rounds of both alternate.
The same once more with conversations of one length, where padding costs nothing.
"""

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
import transformers
from common import give, machine, peak, side_by_side
from torch import Tensor

from sensorium.data.ragged import lay, padded
from sensorium.forms.prefix import Prefix
from sensorium.media.specs import padded_clip
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import layout
from sensorium.models.llava import SIZES, llava
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.train.rules import AdamW, Freeze, optimiser

RATE, CLIP, SLACK, SLACK_LOW = 1e-5, 1.0, 1e-4, 2e-2
RAGGED = (24, 64, 140, 300)  # words of each conversation, beside its picture's 64 tokens
EVEN = (132,) * 4  # as many in all


def main() -> None:
    """Prints one JSON object a kind of batch."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--layers", type=int, default=30)
    options.add_argument("--rounds", type=int, default=5)
    said = options.parse_args()
    whole = SIZES["smollm2-135M"]
    text = whole.args["text"]._replace(layers=said.layers)
    declaration = Declaration(llava, whole.args | dict(text=text))
    torch.manual_seed(0)
    ours = declaration.build().train()
    assert isinstance(ours, Prefix)
    theirs = peer(declaration, ours).train()
    fastest = peak(torch.bfloat16)
    print(f"{machine()}; peak {fastest / 1e12:.2f} TFLOP/s in bfloat16")
    lessons = {"ragged": conversations(RAGGED, ours), "one length": conversations(EVEN, ours)}
    for lesson in lessons.values():
        agree(ours, theirs, lesson)
    for name, lesson in lessons.items():
        steps = {"ours": our_step(ours, lesson), "transformers": their_step(theirs, lesson)}
        begun = {key: step() for key, step in steps.items()}
        if abs(begun["ours"] / begun["transformers"] - 1) > SLACK_LOW:
            raise SystemExit(f"losses in bfloat16 differ: {begun}")
        spent = side_by_side(dict(steps), said.rounds)
        count, longest = lesson.text.lengths, int(lesson.text.lengths.max())
        report = {
            "batch": name,
            "tokens": int(count.sum()),
            "tokens padded": longest * len(count),
            "learnt": NextToken().count(lesson)["next"],
            "loss": {key: round(loss, 4) for key, loss in begun.items()},
            "seconds a step": {key: round(s, 3) for key, s in spent.items()},
            "ratio": round(spent["transformers"] / spent["ours"], 2),
            "our share of the peak": round(work(ours, lesson) / spent["ours"] / fastest, 2),
        }
        print(json.dumps(report, indent=1), flush=True)


def conversations(lengths: tuple[int, ...], net: Prefix) -> Lesson:
    """A picture each, and then words in rounds of which the last two thirds are answers."""
    rng = np.random.default_rng(0)
    hole = net.vocab - 1
    texts, learnt = [], []
    for length in lengths:
        words = rng.integers(3, hole, length)
        answers = np.concatenate(
            [np.arange(len(one)) >= len(one) / 3 for one in np.array_split(words, 1 + length // 60)]
        )
        texts.append([1, *[hole] * net.patches, *words.tolist()])
        learnt += [False] * (1 + net.patches) + answers.tolist()
    text = lay(texts)
    image = torch.randn(len(lengths), 3, net.pixels, net.pixels)
    source = Pictures(image, (text.ids == hole).nonzero()[:, 0])
    return Lesson(text, torch.tensor(learnt), source)


def peer(declaration: Declaration, ours: Prefix) -> torch.nn.Module:
    """transformers' LLaVA with the same weights; a norm that is never read stays its own."""
    chosen = layout("hf5-llava")
    manifest = {"transform": padded_clip(ours.pixels)}
    files = chosen.files(declaration, manifest)
    config = transformers.LlavaConfig(**json.loads(files["config.json"]))
    net = transformers.LlavaForConditionalGeneration(config)
    weights = {placed(k): v for k, v in chosen.keymap(declaration).save(ours.state_dict()).items()}
    give(net, weights, r"post_layernorm|^lm_head\.")
    net.tie_weights()
    for name, p in net.named_parameters():
        p.requires_grad_("vision_tower" not in name)
    return net


def placed(key: str) -> str:
    """Where the peer's net has what its files call so."""
    if key.startswith("language_model."):
        rest = key.removeprefix("language_model.")
        return rest if rest.startswith("lm_head") else f"model.language_model.{rest[6:]}"
    return f"model.{key}"


def padded_batch(lesson: Lesson) -> dict[str, Tensor]:
    """The same batch as the peer reads it: padded at the right, labels on answers alone."""
    text = lesson.text
    ids = padded(text, 0)
    seen = torch.arange(ids.shape[1]) < text.lengths[:, None]
    labels = torch.full_like(ids, -100)
    labels[seen] = torch.where(lesson.learnt, text.ids, -100)
    assert isinstance(lesson.source, Pictures)
    pixels = lesson.source.image
    return dict(input_ids=ids, attention_mask=seen.long(), labels=labels, pixel_values=pixels)


def our_loss(net: torch.nn.Module, lesson: Lesson) -> Tensor:
    objective = NextToken()
    return (
        objective.mark(objective.encode(net, lesson), lesson)["next"]
        / objective.count(lesson)["next"]
    )


def agree(ours: Prefix, theirs: torch.nn.Module, lesson: Lesson) -> None:
    """Stops where losses or the gradients of word vectors, which all words reach, differ."""
    with torch.no_grad():
        mine, other = float(our_loss(ours, lesson)), float(theirs(**padded_batch(lesson)).loss)
    if abs(mine / other - 1) > SLACK:
        raise SystemExit(f"losses differ: ours {mine}, theirs {other}")
    short = lesson_of(lesson, 2)
    our_loss(ours, short).backward()
    theirs(**padded_batch(short)).loss.backward()
    a = ours.decoder.embed.word.weight.grad
    b = theirs.get_input_embeddings().weight.grad  # type: ignore[operator]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    if float((a - b).abs().max() / b.abs().max()) > SLACK:
        raise SystemExit("gradients of word vectors differ")
    for net in (ours, theirs):
        net.zero_grad(set_to_none=True)


def lesson_of(lesson: Lesson, count: int) -> Lesson:
    """The first conversations alone."""
    assert isinstance(lesson.source, Pictures)
    ends = lesson.text.lengths[:count].tolist()
    text = lay([one.tolist() for one in lesson.text.ids[: sum(ends)].split(ends)])
    place = lesson.source.place[lesson.source.place < sum(ends)]
    source = Pictures(lesson.source.image[:count], place)
    return Lesson(text, lesson.learnt[: sum(ends)], source)


def our_step(net: Prefix, lesson: Lesson) -> Callable[[], float]:
    rules = ((r"^(bridge|decoder)\.", AdamW(RATE)), (r".*", Freeze()))
    learn = optimiser(net, rules)
    for group in learn.param_groups:
        group["lr"] = RATE
    return step(net, learn, lambda: our_loss(net, lesson))


def their_step(net: torch.nn.Module, lesson: Lesson) -> Callable[[], float]:
    learnt = [p for p in net.parameters() if p.requires_grad]
    learn = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.0, fused=True)
    batch = padded_batch(lesson)
    return step(net, learn, lambda: net(**batch).loss)


def step(
    net: torch.nn.Module, learn: torch.optim.Optimizer, loss_of: Callable[[], Tensor]
) -> Callable[[], float]:
    """One whole step, the same for both."""

    def one() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        learn.step()
        learn.zero_grad()
        return float(loss.detach())

    return one


def work(net: Prefix, lesson: Lesson) -> float:
    """FLOPs of the matrix products that a step cannot do without, attention's left out."""
    tokens, learnt = int(lesson.text.lengths.sum()), NextToken().count(lesson)["next"]
    stack = sum(p.numel() for p in net.decoder.stack.parameters() if p.dim() == 2)
    tower = sum(p.numel() for p in net.image.parameters() if p.dim() == 2)
    bridge = sum(p.numel() for p in net.bridge.parameters() if p.dim() == 2)
    seen = len(lesson.text.lengths) * net.patches
    vocabulary = net.decoder.embed.word.weight.numel()
    return 6.0 * (tokens * stack + learnt * vocabulary + seen * bridge) + 2.0 * seen * tower


if __name__ == "__main__":
    main()
