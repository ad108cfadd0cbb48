"""The same weights in transformers' own language models give our numbers, in both directions."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sensorium
from sensorium.data.ragged import lay
from sensorium.forms.decoder import Decoder
from sensorium.forms.seq2seq import Seq2Seq
from sensorium.models.declaration import declared
from sensorium.models.layouts import layout
from sensorium.models.published import Said
from sensorium.nn.generate.beam import beam
from sensorium.nn.generate.loop import read, speak
from sensorium.nn.generate.speaks import How, Request
from sensorium.verbs.open import published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, state

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
LIMIT = 1e-5
TEXTS = [[(7 * i + 3 * j + 1) % 90 + 3 for j in range(n)] for i, n in enumerate((11, 4, 17))]
COMMON: dict[str, Any] = dict(vocab_size=96)
LLAMA = COMMON | dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2)
LLAMA |= dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
OPT = COMMON | dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48)
OPT |= dict(max_position_embeddings=64)
GPT2 = COMMON | dict(n_embd=32, n_layer=2, n_head=4, n_positions=64)
ROPE = {"rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = ROPE | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
T5 = COMMON | dict(d_model=24, num_layers=2, num_heads=2, d_kv=8, d_ff=40)
BART = COMMON | dict(d_model=24, max_position_embeddings=64)
for _side in ("encoder", "decoder"):
    BART |= {f"{_side}_layers": 2, f"{_side}_attention_heads": 3, f"{_side}_ffn_dim": 40}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("hf-llama", "Llama", LLAMA),
    ("hf-llama", "Llama", LLAMA | dict(tie_word_embeddings=True, head_dim=16)),
    ("hf-llama", "Llama", LLAMA | dict(rope_parameters=LLAMA3)),
    ("hf-llama", "Llama", LLAMA | dict(rope_parameters=ROPE | {"rope_type": "yarn"})),
    (
        "hf-llama",
        "Llama",
        LLAMA | dict(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}),
    ),
    ("hf-gpt2", "GPT2LMHead", GPT2),
    ("hf-opt", "OPT", OPT | dict(word_embed_proj_dim=32)),
    ("hf-opt", "OPT", OPT | dict(word_embed_proj_dim=16, do_layer_norm_before=False)),
    ("hf-mpt", "Mpt", COMMON | dict(d_model=36, n_layers=2, n_heads=6, max_seq_len=64)),
    (
        "hf-gpt-neo",
        "GPTNeo",
        COMMON
        | dict(hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64)
        | dict(attention_types=[[["global", "local"], 1]], window_size=4),
    ),
    ("hf-gptj", "GPTJ", GPT2 | dict(n_head=2, rotary_dim=8, tie_word_embeddings=False)),
    ("hf-t5", "T5", T5),
    ("hf-t5", "T5", T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    ("hf-bart", "Bart", BART),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


@pytest.fixture(autouse=True)
def quiet():
    """Neither progress bars nor advice on standard error."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def theirs(kind: str, settings: dict[str, Any]) -> nn.Module:
    """A model of transformers with drawn weights, none of them zero but BART's unused bias."""
    config_kind = {"GPT2LMHead": "GPT2"}.get(kind, kind)
    ends = {"T5": "ForConditionalGeneration", "Bart": "ForConditionalGeneration"}
    ends |= {"GPT2LMHead": "Model"}
    config = getattr(transformers, f"{config_kind}Config")(
        **settings, bos_token_id=0, eos_token_id=1, pad_token_id=2 if kind != "T5" else 0
    )
    if kind == "Mpt":
        config.attn_config.clip_qkv = 0.5
    config._attn_implementation = "eager"
    net = getattr(transformers, kind + ends.get(kind, "ForCausalLM"))(config)
    if kind == "T5" and not settings.get("tie_word_embeddings", True):
        net.lm_head.weight = nn.Parameter(torch.empty_like(net.lm_head.weight))
        net.config.tie_word_embeddings = False
    drawn = state({name: p.shape for name, p in net.named_parameters()})
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(drawn[name])
    return net.eval()


def logits(net: nn.Module, text: list[int], source: list[int] | None) -> torch.Tensor:
    ids = torch.tensor([text])
    if source is None:
        return net(input_ids=ids).logits[0]
    return net(input_ids=torch.tensor([source]), decoder_input_ids=ids).logits[0]


@pytest.mark.parametrize(("name", "kind", "settings"), CASES, ids=IDS)
@torch.no_grad()
def test_a_folder_of_transformers_gives_the_same_here(
    name: str, kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Logits of ragged texts, greedy texts and beams; then export, and import of what came out."""
    net = theirs(kind, settings)
    net.save_pretrained(tmp_path / "hf", max_shard_size="20KB" if name == "hf-llama" else "1GB")
    found = published(tmp_path / "hf", name, Said())
    ours = sensorium.load(tmp_path / "hf", name).net
    both = isinstance(ours, Seq2Seq)
    sources = [TEXTS[1], TEXTS[2], TEXTS[0]] if both else [None] * 3
    said = [logits(net, t, s) for t, s in zip(TEXTS, sources, strict=True)]
    got = ours(lay(sources), lay(TEXTS)) if both else ours(lay(TEXTS))  # type: ignore[arg-type]
    off = drift(torch.cat(said), got)
    print(name, f"{off:.1e}")
    assert off <= LIMIT
    assert_continues_alike(net, ours)
    declaration = declared(found.manifest["model"])
    back = layout(name).keymap(declaration).save(ours.state_dict())
    written = net.state_dict()
    for key, tensor in back.items():
        if key in written:
            assert torch.equal(tensor, written[key]), key
    config = json.loads(layout(name).files(declaration, {"tokenizer": None})["config.json"])
    again = getattr(transformers, type(net).__name__)(type(net.config)(**config))
    again.config._attn_implementation = "eager"
    lost = again.load_state_dict(back, strict=False)
    assert not lost.unexpected_keys
    assert all("bias" in k or "lm_head" in k or "embed_tokens" in k for k in lost.missing_keys)
    if not both and "lm_head.weight" not in lost.missing_keys:
        assert drift(logits(net, TEXTS[0], None), logits(again.eval(), TEXTS[0], None)) <= LIMIT


def assert_continues_alike(net: nn.Module, ours: nn.Module) -> None:
    """Greedy and four beams, from each prompt alone there and together here."""
    how = dict(max_new_tokens=8, do_sample=False, eos_token_id=[5, 9, 23], pad_token_id=2)
    ends = frozenset({5, 9, 23})
    if isinstance(ours, Seq2Seq):
        requests = [Request([ours.start], How(8), ends)] * 3
        cache = ours.begin(lay(TEXTS), 16)
        start = read(ours, requests, cache)
        how |= dict(forced_bos_token_id=None, forced_eos_token_id=None)
        how |= dict(decoder_start_token_id=ours.start)
    else:
        assert isinstance(ours, Decoder)
        requests, start = [Request(ids, How(8), ends) for ids in TEXTS], None
    rows: list[list[int]] = [[], [], []]
    for step in speak(ours, requests, start):
        rows[step.row].append(step.token)
    for ids, row in zip(TEXTS, rows, strict=True):
        made = net.generate(input_ids=torch.tensor([ids]), **how)[0].tolist()  # type: ignore[operator]
        assert row == made[1 if isinstance(ours, Seq2Seq) else len(ids) :]
    if isinstance(ours, Decoder):
        found = beam(ours, requests, 4, 1.0)
        for ids, beams in zip(TEXTS, found, strict=True):
            made = net.generate(input_ids=torch.tensor([ids]), num_beams=4, **how)  # type: ignore[operator]
            best = made[0].tolist()[len(ids) :]
            assert list(beams[0].ids) == best[: len(beams[0].ids)]


def test_a_setting_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    net = theirs("Llama", LLAMA)
    net.save_pretrained(tmp_path)
    at = tmp_path / "config.json"
    config = json.loads(at.read_text())
    for change, word in (
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_attention_heads": 3}, "heads"),
        ({"model_type": "mistral"}, "mistral"),
    ):
        at.write_text(json.dumps(config | change))
        with pytest.raises(WeightsError, match=word):
            sensorium.load(tmp_path, "hf-llama")
    at.unlink()
    with pytest.raises(WeightsError, match=r"config\.json"):
        sensorium.load(tmp_path, "hf-llama")
