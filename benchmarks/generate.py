"""SmolLM2-135M saying tokens on a processor, beside transformers, turn by turn in one run.

    SENSORIUM_SMOLLM2=.../SmolLM2-135M-Instruct.Q4_1.gguf python benchmarks/generate.py [--rounds 3]

Tokens a second of decoding (batch 1, after a prompt of 64 tokens; batch 8 of unequal prompts), of
reading a prompt of 512, and what reading the weights alone would allow. The rounds of all ways
alternate, so that other work on the machine hits all of them; the best round of each is shown.
"""

import argparse
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from common import clock, give, machine

import sensorium
from sensorium.models.declaration import declared
from sensorium.models.layouts import layout
from sensorium.nn.generate.loop import read, speak
from sensorium.nn.generate.speaks import How, Request
from sensorium.nn.lowbit import lowered, size_of
from sensorium.nn.swift import swift
from sensorium.verbs.model import Model

LENGTHS = (20, 35, 50, 65, 80, 110, 140, 180)  # of the ragged batch


def main() -> None:
    """Prints one JSON object."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tokens", type=int, default=32)
    said = options.parse_args()
    model = sensorium.load(Path(os.environ["SENSORIUM_SMOLLM2"]))
    theirs = peer(model).bfloat16().eval()
    ours = model.net.bfloat16()
    fast = {"bf16": swift(ours)}
    sizes = {"bf16": size_of(ours)}
    for bits in (8, 4):
        low = lowered(ours, bits).net
        fast[f"int{bits}"], sizes[f"int{bits}"] = swift(low), heard(low)
    ids = [(37 * i) % 40000 + 100 for i in range(512)]
    batch = [ids[:n] for n in LENGTHS]
    ways: dict[str, Callable[[], float]] = {
        "decode, transformers bf16": lambda: their_decode(theirs, [ids[:64]], said.tokens),
        **{
            f"decode, ours {name}": lambda net=net: our_decode(net, [ids[:64]], said.tokens)
            for name, net in fast.items()
        },
        "prompt of 512, transformers": lambda: 512 / timed(lambda: whole(theirs, ids)),
        "prompt of 512, ours": lambda: 512 / timed(lambda: read(ours, [Request(ids, How(1))])),
        "batch of 8, transformers": lambda: their_decode(theirs, batch, said.tokens),
        **{
            f"batch of 8, ours {name}": lambda net=net: our_decode(net, batch, said.tokens)
            for name, net in fast.items()
        },
    }
    found: dict[str, float] = {}
    with torch.inference_mode():
        for _ in range(said.rounds):
            for name, way in ways.items():
                found[name] = max(found.get(name, 0.0), way())
    rate = bandwidth()
    bound = {name: rate / size for name, size in sizes.items()}
    report = {
        "machine": machine(),
        "tokens a second": {k: round(v, 1) for k, v in found.items()},
        "GB read a second": round(rate / 1e9, 1),
        "tokens a second if only weights were read": {k: round(v, 1) for k, v in bound.items()},
        "peak GB of this run": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps(report, indent=1))


def peer(model: Model) -> torch.nn.Module:
    """transformers' LLaMA with the same weights."""
    declaration, chosen = declared(model.manifest["model"]), layout("hf-llama")
    config = json.loads(chosen.files(declaration, model.manifest)["config.json"])
    net = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    tied = r"^lm_head\.weight$" if config.get("tie_word_embeddings") else ""
    give(net, chosen.keymap(declaration).save(model.net.state_dict()), tied)
    net.tie_weights()
    return net


def heard(net: torch.nn.Module) -> int:
    """The bytes that one token reads: all but the word vectors, which it looks up."""
    return size_of(net) - net.get_parameter("embed.word.weight").nbytes


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes; with one thread those of its processor time (see common.clock)."""
    start = clock()
    work()
    return clock() - start


def whole(net: torch.nn.Module, ids: list[int]) -> object:
    return net(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=1)


def our_decode(net: object, prompts: list[list[int]], tokens: int) -> float:
    requests = [Request(one, How(tokens + 1)) for one in prompts]
    start = read(net, requests)  # type: ignore[arg-type]
    steps = speak(net, requests, start)  # type: ignore[arg-type]
    for _ in prompts:
        next(steps)
    return len(prompts) * tokens / timed(lambda: list(steps))


def their_decode(net: torch.nn.Module, prompts: list[list[int]], tokens: int) -> float:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    common = dict(attention_mask=seen, do_sample=False, eos_token_id=None, pad_token_id=0)

    def run(count: int) -> float:
        return timed(lambda: net.generate(ids, max_new_tokens=count, **common))  # type: ignore

    first = run(1)
    return len(prompts) * tokens / (run(tokens + 1) - first)


def bandwidth() -> float:
    """Bytes a second that this machine reads, from a sum over 512 MB."""
    many = torch.ones(128 << 20)
    return many.nbytes / min(timed(many.sum) for _ in range(3))


if __name__ == "__main__":
    main()
