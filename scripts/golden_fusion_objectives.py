"""Makes golden/fusion-objectives.safetensors: losses of fusion encoders by their own code.

    python -m scripts.golden_fusion_objectives UNITER VILT ALBEF

The arguments are checkouts of github.com/ChenRocks/UNITER, dandelin/ViLT and salesforce/ALBEF. What
goes in comes from tests/models/drawn.py; nets are stood in for by what they would have said.
"""

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.drawn import uniform

GOLDEN = Path(__file__).parents[1] / "golden" / "fusion-objectives.safetensors"
WORDS, REGIONS = (7, 3, 5, 1), (4, 6, 1, 6)  # lengths of the pairs that are transported
PIECES, PATCHES = (7, 3, 5, 4), (4, 6, 2, 6)  # with the first and last ones, that are left out
WIDTH = 8
RIGHT = (True, False, True, False)
QUEUE, BATCH, EMBED = 12, 4, 6
TEMPERATURE, SHARE = 0.11, 0.4


def main(uniter: Path, vilt: Path, albef: Path) -> None:
    out = transport(loaded(uniter / "model" / "ot.py", boolean=True))
    out |= word_patches(vilt)
    out |= contrast(albef)
    save_file({name: t.contiguous() for name, t in out.items()}, GOLDEN)


def loaded(path: Path, boolean: bool = False) -> types.ModuleType:
    """A file of theirs as a module; `boolean`: its diagonal masks are of a type of today."""
    module = types.ModuleType(path.stem)
    text = path.read_text()
    text = text.replace("dtype=torch.uint8", "dtype=torch.bool") if boolean else text
    exec(compile(text, str(path), "exec"), vars(module))
    return module


def padded(
    n_words: tuple[int, ...], n_regions: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States of words and regions, filled up with anything, and where they are real."""
    lengths = n_words, n_regions
    words, regions = (
        uniform(name, (len(n), max(n), WIDTH)).requires_grad_()
        for name, n in zip(("words", "regions"), lengths, strict=True)
    )
    real = [torch.arange(max(n))[None] < torch.tensor(n)[:, None] for n in lengths]
    return words, regions, real[0], real[1]


def transport(theirs) -> dict[str, Tensor]:
    """UNITER's distances and their gradient, and the plan."""
    words, regions, real_w, real_r = padded(WORDS, REGIONS)
    distance = theirs.optimal_transport_dist(words, regions, ~real_w, ~real_r)
    right = torch.tensor(RIGHT)
    loss = 0.1 * (distance[right].sum() - distance[~right].sum()) / len(right)
    loss.backward()
    assert words.grad is not None and regions.grad is not None
    return {
        "uniter.distance": distance.detach(),
        "uniter.loss": loss.detach(),
        "uniter.words": words.grad,
        "uniter.regions": regions.grad,
    }


def word_patches(checkout: Path) -> dict[str, Tensor]:
    """ViLT's loss of words and patches: what its model would have said is given."""
    sys.modules |= {name: types.ModuleType(name) for name in ("tqdm", "einops", "vilt")}
    sys.modules["einops"].rearrange = None  # type: ignore[attr-defined]
    for name in ("vilt.modules", "vilt.modules.dist_utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["vilt.modules.dist_utils"].all_gather = None  # type: ignore[attr-defined]
    theirs = loaded(checkout / "vilt" / "modules" / "objectives.py")
    words, patches, real_w, real_p = padded(PIECES, PATCHES)
    logits = uniform("logits", (len(WORDS), 2))
    said = dict(text_feats=words, image_feats=patches, cls_feats=logits)
    masks = dict(text_masks=real_w.long(), image_masks=real_p.long())
    stub = SimpleNamespace(
        infer=lambda batch, mask_text, mask_image: said | masks,
        hparams=SimpleNamespace(config={"vit": "vit_base_patch32_384"}),
        device="cpu",
        training=True,
        itm_score=lambda x: x,
        log=lambda *_: None,
    )
    for name in ("loss", "wpa_loss", "accuracy"):
        setattr(stub, f"train_itm_{name}", lambda *_: torch.zeros(()))
    torch.manual_seed(0)
    pictures = [torch.zeros(len(WORDS), 1)]
    batch = {"text": list(WORDS), "image": pictures, "false_image_0": pictures}
    found = theirs.compute_itm_wpa(stub, batch)
    found["itm_wpa_loss"].backward()
    assert words.grad is not None
    return {
        "vilt.label": found["itm_labels"].long(),
        "vilt.wpa": found["itm_wpa_loss"].detach(),
        "vilt.itm": found["itm_loss"].detach(),
        "vilt.words": words.grad,
    }


class Tower(nn.Module):
    """Stands for an encoder: says the vectors that it is made with, one a row, as first tokens."""

    def __init__(self, name: str):
        super().__init__()
        self.said = nn.Parameter(uniform(name, (BATCH, EMBED)))

    def forward(self, *_, **__) -> Tensor:
        return self.said[:, None]


class Words(nn.Module):
    """Stands for the text's encoder: its modes give the text's vectors; a loss of words of 0."""

    def __init__(self, name: str):
        super().__init__()
        self.said = nn.Parameter(uniform(name, (BATCH, EMBED)))
        self.config = SimpleNamespace(vocab_size=9)
        self.seen: list[Tensor] = []

    def bert(self, *_, mode: str, encoder_embeds=None, encoder_hidden_states=None, **__):
        if mode == "text":
            return SimpleNamespace(last_hidden_state=self.said[:, None])
        self.seen += [encoder_embeds.detach(), encoder_hidden_states.detach()]
        return SimpleNamespace(last_hidden_state=encoder_embeds * encoder_hidden_states)

    def forward(self, *_, return_logits: bool = False, **__):
        return torch.zeros(1, 1, 9) if return_logits else SimpleNamespace(loss=torch.zeros(()))


def contrast(checkout: Path) -> dict[str, Tensor]:
    """ALBEF's contrast with queues and soft targets, and what its queues hold afterwards."""
    for name in ("models", "models.vit", "models.xbert"):
        sys.modules[name] = types.ModuleType(name)
    for name in ("VisionTransformer", "interpolate_pos_embed"):
        setattr(sys.modules["models.vit"], name, None)
    for name in ("BertConfig", "BertForMaskedLM"):
        setattr(sys.modules["models.xbert"], name, None)
    theirs = loaded(checkout / "models" / "model_pretrain.py")
    vars(theirs)["concat_all_gather"] = lambda x: x
    net = theirs.ALBEF.__new__(theirs.ALBEF)
    nn.Module.__init__(net)
    net.visual_encoder, net.visual_encoder_m = Tower("image"), Tower("image m")
    net.text_encoder, net.text_encoder_m = Words("text"), Words("text m")
    for name in ("vision_proj", "text_proj", "vision_proj_m", "text_proj_m", "itm_head"):
        setattr(net, name, nn.Linear(EMBED, 2, bias=False) if name == "itm_head" else nn.Identity())
    net.itm_head.weight.data.copy_(uniform("itm", (2, EMBED)))
    net.temp = nn.Parameter(torch.tensor(TEMPERATURE))
    net.momentum, net.model_pairs, net.queue_size = 1.0, [], QUEUE
    net.mlm_probability = 0.15
    net.tokenizer = SimpleNamespace(pad_token_id=0, cls_token_id=1, mask_token_id=2)
    unit = nn.functional.normalize
    net.register_buffer("image_queue", unit(uniform("image queue", (QUEUE, EMBED)), dim=1).T)
    net.register_buffer("text_queue", unit(uniform("text queue", (QUEUE, EMBED)), dim=1).T)
    net.register_buffer("queue_ptr", torch.tensor([8]))
    text = SimpleNamespace(
        input_ids=torch.full((BATCH, 3), 5), attention_mask=torch.ones(BATCH, 3).long()
    )
    torch.manual_seed(3)
    _, contrast, match = net(torch.zeros(BATCH, 1), text, alpha=SHARE)
    contrast.backward()
    grads = {
        "albef.image": net.visual_encoder.said.grad,
        "albef.text": net.text_encoder.said.grad,
        "albef.temperature": net.temp.grad,
    }
    return {
        "albef.contrast": contrast.detach(),
        "albef.match": match.detach(),
        "albef.texts": torch.cat(net.text_encoder.seen[0::2])[:, 0],  # as they were fused
        "albef.pictures": torch.cat(net.text_encoder.seen[1::2])[:, 0],
        "albef.image queue": net.image_queue,
        "albef.text queue": net.text_queue,
        **grads,
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
