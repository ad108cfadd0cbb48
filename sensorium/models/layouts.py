"""All published layouts, and which of them a file's names fit."""

from collections.abc import Iterable

from sensorium.models import (
    albef_layouts,
    bert_layouts,
    clip_layouts,
    code_layouts,
    decoder_layouts,
    flamingo_layouts,
    frcnn_layouts,
    llama_layouts,
    llava_layouts,
    lxmert_layouts,
    single_stream_layouts,
    vilbert_layouts,
    vilt_layouts,
    vit_layouts,
    whisper_layouts,
)
from sensorium.models.published import Published
from sensorium.weights.errors import WeightsError

LAYOUTS: dict[str, Published] = {
    one.name: one
    for module in (
        *(vilt_layouts, albef_layouts),
        *(clip_layouts, vit_layouts, llama_layouts, decoder_layouts, code_layouts),
        *(bert_layouts, single_stream_layouts, lxmert_layouts, vilbert_layouts, frcnn_layouts),
        *(whisper_layouts, llava_layouts, flamingo_layouts),
    )
    for one in module.LAYOUTS
}


def layout(name: str) -> Published:
    """The layout of that name.

    Raises:
        WeightsError: there is none; the text lists all.
    """
    if name not in LAYOUTS:
        raise WeightsError(f"no layout is called {name!r}; known:\n{listing(LAYOUTS.values())}")
    return LAYOUTS[name]


def candidates(names: Iterable[str]) -> list[Published]:
    """The layouts that have a rule for every one of these names."""
    names = list(names)
    return [one for one in LAYOUTS.values() if one.fits(names)]


def listing(layouts: Iterable[Published]) -> str:
    """One line a layout, for error messages and help."""
    return "\n".join(f"  {one.name:20} {one.about}" for one in layouts)
