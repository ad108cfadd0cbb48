"""A net that aligns and fuses, small enough for tests."""

import torch
from torch import nn

from sensorium.data.ragged import lay
from sensorium.forms.align_fuse import AlignFuse, Tower
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, cross_layer, layer_norm, post_layer, pre_layer
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.pool import First
from sensorium.nn.words import WordEmbed, masked_words
from sensorium.types import Joint
from tests.models.drawn import state, uniform

WIDTH, EMBED, VOCAB = 16, 8, 60


def align_fuse() -> AlignFuse:
    """One layer in each tower and one of fusion, in double precision, without zeros."""
    d, gelu = WIDTH, activation("gelu")
    words = WordEmbed(VOCAB, 20, 2, d, layer_norm(d, 1e-12))
    net = AlignFuse(
        image=Tower(PatchEmbed(16, 8, d, bias=True), Stack([pre_layer(d, 2, gelu, 1e-6)])),
        text=Tower(words, Stack([post_layer(d, 2, gelu, 1e-12)])),
        fusion=Stack([cross_layer(d, 2, gelu, 1e-12)]),
        image_pool=First(nn.Identity(), nn.Linear(d, EMBED)),
        text_pool=First(nn.Identity(), nn.Linear(d, EMBED)),
        pool=First(nn.Identity(), nn.Identity()),
        heads=dict(
            mlm=masked_words(d, words.word, gelu, layer_norm(d, 1e-12)), itm=nn.Linear(d, 2)
        ),
        temperature=0.07,
    )
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    with torch.no_grad():
        net.temperature.fill_(0.2)
    return net.double()


def pairs(rows: int, first: int = 0) -> Joint:
    """Pictures and texts of unlike lengths, from the `first` on."""
    texts = [
        [2, *((7 * i + 11 * j) % 50 + 5 for j in range(2 + i % 3)), 3]
        for i in range(first, first + rows)
    ]
    pictures = [uniform(f"picture {i}", (3, 16, 16)) for i in range(first, first + rows)]
    return Joint(torch.stack(pictures).double(), lay(texts))
