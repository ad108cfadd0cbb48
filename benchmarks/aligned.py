"""ALBEF's step of pre-training beside its official model's, whose code a checkout holds.

All three losses, teacher, queue of 65,536 and AdamW on both sides, dropout as published, autocast
in bfloat16. The official model's parts are made of the wanted depth; the few helpers that it takes
from transformers 4.8 and timm are stood in for as in `scripts/golden_albef.py`. Texts are padded to
the longest of the batch, as its own collation does.
"""

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import give, side_by_side, table
from fusion import HALF, Work, drawn, memory, peak, same, stepper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sensorium.data.ragged import lay
from sensorium.models import albef
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import layout
from sensorium.models.vit import Size
from sensorium.objectives.aligned import Aligned
from sensorium.objectives.masked_words import Vocabulary
from sensorium.objectives.momentum import ALBEF, Queue
from sensorium.types import Joint

PIXELS, QUEUE, MOST = 256, 65536, 25  # MOST: ids of a text in pre-training
MASK, CLS, PAD = 103, 101, 0
WORDS = Vocabulary(MASK, (CLS, PAD), 0, 30522)


def bench(checkout: Path | None, rounds: int, layers: int | None, rows: int) -> None:
    """Equal work, and texts as they come; without a checkout nothing is compared."""
    if checkout is None or not (checkout / "models" / "model_pretrain.py").is_file():
        print("\nalbef: left out; --albef must name a checkout of github.com/salesforce/ALBEF")
        return
    depth = min(12, layers or 12)
    declared = declaration(depth)
    module = official(checkout)
    for ragged in (False, True):
        work = made(rows, ragged)
        title = f"albef, {'ragged texts' if ragged else 'equal work'}"
        print(f"\n{title}: {sum(map(len, work.words)) / rows:.1f} words, {PIXELS} pixels")
        torch.manual_seed(0)
        net = declared.build().eval()
        theirs = peer(module, depth)
        give(theirs, layout("albef").keymap(declared).save(net.state_dict()), "_m|queue|position")
        theirs.copy_params()  # type: ignore[operator]
        compare(net, theirs, work)
        step(net, theirs, work, rounds, title)


def declaration(depth: int) -> Declaration:
    """ALBEF at base size; a text of fewer layers is cut in the middle as that of twelve is."""
    text = BertSize(30522, 512, 2, 768, depth, 12, 3072)
    image = Size(PIXELS, 16, 768, depth, 12, 3072)
    return Declaration(albef.albef, dict(text=text, image=image, fusion=depth - depth // 2))


def made(rows: int, ragged: bool) -> Work:
    """Texts that begin with [CLS], and pictures."""
    words = [[CLS, *one][:MOST] for one in drawn("uniter", rows, ragged).words]
    g = torch.Generator().manual_seed(1)
    return Work("albef", words, [torch.randn(3, PIXELS, PIXELS, generator=g) for _ in words], [])


def given(work: Work) -> tuple[Tensor, types.SimpleNamespace]:
    """Pictures, and texts filled up."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(one) for one in work.words], batch_first=True)
    there = (torch.arange(ids.shape[1]) < torch.tensor([[len(one)] for one in work.words])).long()
    return torch.stack(work.seen), types.SimpleNamespace(input_ids=ids, attention_mask=there)


def joint(work: Work) -> Joint:
    return Joint(torch.stack(work.seen), lay(work.words))


@torch.no_grad()
def compare(net: Any, theirs: Any, work: Work) -> None:
    """The logits of every word, and the vectors."""
    pixels, text = given(work)
    seen = theirs.eval().visual_encoder(pixels)
    look = dict(encoder_hidden_states=seen, encoder_attention_mask=torch.ones(seen.shape[:2]))
    ids, there = text.input_ids, text.attention_mask
    logits = theirs.text_encoder(ids, attention_mask=there, return_dict=True, **look).logits
    same("words", net.heads["mlm"](net.fuse(joint(work)).text.x[0]), logits[there == 1], 1e-4)
    vectors = nn.functional.normalize(theirs.vision_proj(seen[:, 0]), dim=-1)
    same("vectors", net.embed_image(pixels), vectors, 1e-4)


def step(net: nn.Module, theirs: Any, work: Work, rounds: int, title: str) -> None:
    """Both steps in turns; FLOPs are those of the products that our step makes."""
    teacher = declaration(len(theirs.visual_encoder.blocks)).build()
    del teacher.heads["itm"]  # type: ignore[operator, union-attr]
    asks = {"pass": Aligned(teacher, Queue(QUEUE, 256), WORDS, ALBEF)}
    mine = stepper(net, asks, joint(work), True)  # type: ignore[arg-type]
    (pixels, text), learn = given(work), [p for p in theirs.train().parameters() if p.requires_grad]
    plain = torch.optim.AdamW(learn, lr=1e-5, weight_decay=0.02, fused=True)

    def other() -> float:
        with torch.autocast("cpu", HALF):
            loss = sum(theirs(pixels, text, alpha=0.4))
        loss.backward()
        plain.step()
        plain.zero_grad()
        return float(loss.detach())

    calls: dict[str, Callable] = {"ours, bfloat16 autocast": mine, "official, the same": other}
    print("  first losses:", ", ".join(f"{call():.2f}" for call in calls.values()))
    with FlopCounterMode(display=False) as counter:
        mine()
    work_done = counter.get_total_flops()
    used = {name: memory(call) for name, call in calls.items()}
    times = side_by_side(calls, rounds)
    ours = next(iter(calls))
    table(f"{title}, a step, batch {len(work.words)}", times, len(work.words), "samples", ours)
    most = peak(HALF)
    print(
        f"  {ours}: {work_done / 1e9:.0f} GFLOP,"
        f" {work_done / times[ours] / most:.0%} of the measured peak of {most / 1e12:.3f} TFLOP/s"
    )
    print("  peak memory:", ", ".join(f"{name} {x:.0f} MB" for name, x in used.items()))


def official(checkout: Path) -> Any:
    """The module of their model for pre-training."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    importlib.import_module("scripts.golden_albef").stand_in(checkout)
    module = importlib.import_module("models.model_pretrain")
    vars(module)["concat_all_gather"] = lambda x: x  # one process
    return module


def peer(module: Any, depth: int) -> Any:
    """Their model, of so many layers."""
    trunk = importlib.import_module("models.vit").VisionTransformer
    shape = importlib.import_module("scripts.golden_albef").config(depth // 2, 768)
    more = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=depth, num_attention_heads=12)
    vars(shape).update(more, intermediate_size=3072, max_position_embeddings=512)

    def cut(**said: Any) -> nn.Module:
        return trunk(**{**said, "depth": depth})

    config = types.SimpleNamespace(from_json_file=lambda path: shape)
    vars(module).update(VisionTransformer=cut, BertConfig=config)
    said = dict(image_res=PIXELS, vision_width=768, embed_dim=256, mlm_probability=0.15)
    said |= dict(bert_config="", temp=0.07, queue_size=QUEUE, momentum=0.995)
    tokenizer = types.SimpleNamespace(pad_token_id=PAD, cls_token_id=CLS, mask_token_id=MASK)
    return module.ALBEF(text_encoder="", tokenizer=tokenizer, config=said, init_deit=False)
