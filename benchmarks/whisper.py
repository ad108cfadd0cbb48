"""Whisper beside faster-whisper and openai-whisper: same weights, same sounds, same beam, one run.

    SENSORIUM_WHISPER=.../tiny.en SENSORIUM_DATA=... python benchmarks/whisper.py [--clips 20]
        [--minutes 10] [--soak 0] [--peers .../site-packages] [--threads 1]

The model is a CTranslate2 folder, which all three can be given. Every way transcribes the clips of
librispeech_mini's test list, then a recording of those clips end to end; greedy, temperature 0, no
context between windows, no voice detection, no word times. Ways take turns. openai-whisper's net is
filled with the same weights. `--peers` names a folder to import the other two from. `--soak` so
many clips are transcribed one after the other, and the memory of the process is told on the way.
"""

import argparse
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import give, machine
from safetensors.torch import load_file

import sensorium
from sensorium.datasets.speech import LIBRISPEECH, Recordings
from sensorium.media.audio import RATE, read_audio
from sensorium.tasks.normalise import named
from sensorium.tasks.transcription import edits
from sensorium.verbs.exchange import export_model, save_model
from sensorium.verbs.speech.result import Transcript

PLAIN: dict[str, Any] = dict(temperatures=(0.0,), condition=False, language="en")
Way = Callable[[list[np.ndarray]], list[str]]


def main() -> None:
    """Prints one JSON object."""
    options = argparse.ArgumentParser()
    options.add_argument("--clips", type=int, default=20)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--soak", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--peers")
    said = options.parse_args()
    torch.set_num_threads(said.threads)
    at = Path(os.environ["SENSORIUM_WHISPER"])
    if said.peers:
        sys.path.append(said.peers)
    samples = Recordings(LIBRISPEECH, "test")[: said.clips]
    clips = [read_audio(one.sound, name=one.id) for one in samples]
    seconds = sum(map(len, clips)) / RATE
    ways = {name: way for name, way in all_ways(at, said.threads).items() if way is not None}
    report: dict[str, Any] = {
        "machine": machine(),
        "model": at.name,
        "clips": {"count": len(clips), "seconds": round(seconds, 1)},
    }
    shown: dict[str, Any] = {}
    for _ in range(said.rounds):
        for name, way in ways.items():
            spent, texts = timed(way, clips)
            kept = shown.setdefault(name, {"seconds": spent})
            kept["seconds"] = min(kept["seconds"], spent)
            kept["times real time"] = round(seconds / kept["seconds"], 1)
            kept["wer"] = round(100 * wer([one.text for one in samples], texts), 2)
    report["clips, best of rounds"] = shown
    if said.minutes:
        whole = np.concatenate(clips * (1 + int(60 * said.minutes / seconds)))
        whole = whole[: int(60 * said.minutes * RATE)]
        long = {}
        for name, way in ways.items():
            spent, _ = timed(way, [whole])
            rate = round(60 * said.minutes / spent, 1)
            long[name] = {"seconds": round(spent, 2), "times real time": rate}
        report[f"a recording of {said.minutes:g} minutes"] = long
    if said.soak:
        report["soak"] = soak(ours(at, "float32", 8), clips, said.soak)
    report["peak GB of this run"] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2
    )
    print(json.dumps(report, indent=1))


def timed(way: Way, clips: list[np.ndarray]) -> tuple[float, list[str]]:
    """Seconds of processor time (of all threads), and the texts."""
    began = time.process_time()
    texts = way(clips)
    return time.process_time() - began, texts


def wer(references: list[str], texts: list[str]) -> float:
    """The normalised word error rate."""
    plain = named("whisper-english/1")
    pairs = [(plain(a).split(), plain(b).split()) for a, b in zip(references, texts, strict=True)]
    return sum(edits(a, b).count for a, b in pairs) / sum(len(a) for a, _ in pairs)


def all_ways(at: Path, threads: int) -> dict[str, Way | None]:
    """Every way by name; None where its package is not there."""
    return {
        "ours float32": ours(at, "float32", 8),
        "ours bf16": ours(at, "bf16", 8),
        "ours bf16, in pieces": ours(at, "bf16", 8, cut=True),
        "faster-whisper float32": faster(at, "float32", threads),
        "faster-whisper int8": faster(at, "int8", threads),
        "openai-whisper": original(at),
    }


def ours(at: Path, precision: str, batch: int, **more: Any) -> Way:
    """This library."""
    model = sensorium.load(at, precision=precision)
    model.prepare()

    def way(clips: list[np.ndarray]) -> list[str]:
        found = model.transcribe(clips, batch=batch, **PLAIN, **more)
        return [one.text if isinstance(one, Transcript) else "" for one in found]

    return way


def faster(at: Path, kind: str, threads: int) -> Way | None:
    """SYSTRAN/faster-whisper."""
    try:
        peer = importlib.import_module("faster_whisper")
    except ImportError:
        return None
    model = peer.WhisperModel(str(at), device="cpu", compute_type=kind, cpu_threads=threads)

    def way(clips: list[np.ndarray]) -> list[str]:
        out = []
        for clip in clips:
            segments, _ = model.transcribe(
                *(clip,),
                language="en",
                beam_size=1,
                temperature=0.0,
                condition_on_previous_text=False,
            )
            out.append("".join(segment.text for segment in segments))
        return out

    return way


def original(at: Path) -> Way | None:
    """openai/whisper, its net filled with our weights under its names."""
    here = str(Path(__file__).parent)
    sys.path[:] = [one for one in sys.path if one != here]  # this file has the peer's name
    try:
        whisper = importlib.import_module("whisper")
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        save_model(sensorium.load(at), folder / "ours")
        export_model(folder / "ours", "openai-whisper", folder / "theirs")
        dims = json.loads((folder / "theirs" / "dims.json").read_text())
        net = whisper.model.Whisper(whisper.model.ModelDimensions(**dims))
        give(
            net, load_file(next((folder / "theirs").glob("*.safetensors"))), but="mask|encoder.pos"
        )
    net.eval()

    def way(clips: list[np.ndarray]) -> list[str]:
        said: dict[str, Any] = dict(language="en", temperature=0.0, fp16=False)
        return [
            net.transcribe(clip, condition_on_previous_text=False, **said)["text"] for clip in clips
        ]

    return way


def soak(way: Way, clips: list[np.ndarray], count: int) -> dict[str, Any]:
    """MB of the process after so many files, a tenth at a time."""
    sizes = []
    for part in range(10):
        many = [clips[(part * count // 10 + i) % len(clips)] for i in range(max(1, count // 10))]
        way(many)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
    return {"files": count, "MB after each tenth": sizes}


if __name__ == "__main__":
    main()
