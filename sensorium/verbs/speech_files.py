"""Speech models in formats of their own: CTranslate2's model.bin and whisper.cpp's ggml."""

from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium.models.whisper_layouts import CT2, GGML
from sensorium.weights.ct2 import is_ct2, read_ct2
from sensorium.weights.errors import WeightsError
from sensorium.weights.header import parse_json
from sensorium.weights.readers import Info
from sensorium.weights.whisper_ggml import facts, is_ggml, read_ggml

WORDS_MAX = 16 << 20
WORD_LISTS = ("vocabulary.json", "vocabulary.txt")


def speech_file(at: Path) -> tuple[dict[str, Tensor], Info, dict[str, Any]] | None:
    """The tensors of such a file, how it was read, and what it says; None for any other file.

    What it says: `layout`, and `beside`, to be added to the files beside the weights.

    Raises:
        WeightsError: damaged, or of another model than a Whisper.
    """
    if is_ggml(at):
        tensors, header = read_ggml(at)
        kinds = ", ".join(f"{n} {name}" for name, n in header.kinds.items())
        notes = (f"tensors in the file: {kinds}",)
        said = {"layout": "ggml-whisper", "beside": {GGML: facts(header)}}
        return tensors, Info("ggml", {}, notes, {}), said
    if not is_ct2(at):
        return None
    tensors, header = read_ct2(at)
    if header.spec != "WhisperSpec":
        raise WeightsError(f"{at}: holds a {header.spec} of CTranslate2; only Whisper's are read")
    kinds = ", ".join(f"{n} {name}" for name, n in header.kinds.items())
    notes = (f"variables in the file: {kinds}; 8-bit ones multiplied out to float32",)
    said = {"layout": "ctranslate2-whisper", "beside": {CT2: {"words": word_list(at.parent)}}}
    return tensors, Info("ctranslate2", {}, notes, {}), said


def word_list(folder: Path) -> list[str] | None:
    """The names of all ids, from the list that lies in a CTranslate2 folder; None: there is none.

    Raises:
        WeightsError: it is too large or no list of texts.
    """
    for name in WORD_LISTS:
        at = folder / name
        if not at.is_file():
            continue
        if at.stat().st_size > WORDS_MAX:
            raise WeightsError(f"{at}: larger than {WORDS_MAX} bytes: no vocabulary is so large")
        data = at.read_bytes()
        if name.endswith(".txt"):
            return data.decode("utf-8", errors="replace").split("\n")
        found: Any = parse_json(data, str(at))
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise WeightsError(f"{at}: is no list of words")
        return found
    return None
