"""Options of commands, and what they say; nothing heavy is imported, so that --help is quick."""

import argparse
import os
from pathlib import Path

SETTINGS = "max_tokens, temperature, top_k, top_p, min_p, repetition, seed"
ASKED = (
    "the chat template, where the checkpoint names none; a Flamingo, which has none, is asked in"
    " vqa (the default: Question:... Short answer:) or plain (it goes on behind what is typed)"
)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def asking(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium ask`."""
    one.add_argument(
        "asked",
        nargs="+",
        metavar="CHECKPOINT ... QUESTION",
        help="CHECKPOINT IMAGE QUESTION; or, with --image, one or more checkpoints, then QUESTION",
    )
    one.add_argument("--image", help="a picture file; then every checkpoint answers, side by side")
    one.add_argument("--template", help="the chat template, where checkpoints name none")
    one.add_argument("--layout", help="of published files")
    one.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    one.add_argument("--boxes", nargs="+", default=[], metavar="X1,Y1,X2,Y2", help="in pixels")
    one.add_argument("--detector", help="the checkpoint folder of a detector, which finds them")
    one.add_argument("--regions", help="a file of region features that holds the picture")
    one.add_argument("--show", type=Path, help="draw where the model looked (PNG)")


def scoring(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium evaluate`."""
    one.add_argument("task", help="`sensorium evaluate CHECKPOINT list` lists them")
    one.add_argument("--data", help="your own data, or the folder of the data sets")
    one.add_argument("--detector", help="the checkpoint folder of what finds regions, if asked for")
    one.add_argument("--templates", help="a table of prompts, or one prompt with a {}")
    one.add_argument("--records", type=Path, help="write one line a query to this file")


def inspecting(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium data`."""
    one.add_argument("what", choices=["inspect"], help="show which tokens would be trained")
    one.add_argument("file", type=Path, help="conversations in LLaVA's form (.json, .jsonl)")
    one.add_argument("--checkpoint", required=True, help="whose tokenizer and template are used")
    one.add_argument("--template", help="a chat template, or plain (default: the checkpoint's)")
    one.add_argument("--images", type=Path, help="where the pictures lie (default: by the file)")
    one.add_argument("--sample", nargs="+", default=[], help="ids or numbers (default: the first)")
    one.add_argument("--patches", type=int, help="tokens of a picture, where none is said")
    one.add_argument("--length", type=int, help="tokens that are read (default: the context)")


def chatting(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium chat`."""
    one.add_argument("--image", nargs="+", default=[], help="pictures shown with the first line")
    one.add_argument("--system", help="what the system says first (default: the template's own)")
    one.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help=SETTINGS)
    one.add_argument("--bits", type=int, choices=[4, 8], help="keep the weights in so few bits")
    one.add_argument("--template", help=ASKED)


def captioning(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium caption`."""
    one.add_argument("images", nargs="+", help="picture files")
    one.add_argument("--ask", help="what is asked for (default: a brief description)")
    one.add_argument("--template", help="the chat template, where the checkpoint names none")
    text = "examples that a Flamingo is shown first"
    one.add_argument("--shots", nargs="+", default=[], metavar="PICTURE=WORDS", help=text)


def importing(one: argparse.ArgumentParser) -> None:
    """Those of `sensorium import`."""
    one.add_argument("file", help="the published file or folder")
    one.add_argument("--layout", help="whose layout it has; left out, the candidates are listed")
    one.add_argument("--act", help="the activation it was trained with, where the layout is silent")
    one.add_argument("--allow-pickle", action="store_true", help="read pickled files, in a sandbox")
    text = "the language model's own file or folder, where FILE holds what was trained alone"
    one.add_argument("--lm", help=f"{text} (openflamingo)")
    text = "CLIP's own file, in OpenAI's or open_clip's names, likewise"
    one.add_argument("--tower", help=text)
    one.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")


def named(asked: list[str], image: str | None) -> tuple[list[str], str, str]:
    """The checkpoints, the picture and the question of `sensorium ask`.

    ValueError: there are too few or too many words.
    """
    unknown = [word for word in asked if word.startswith("--")]
    if unknown:
        raise ValueError(f"ask knows no {', '.join(unknown)}: see sensorium ask --help")
    if image is None and len(asked) == 3:
        return asked[:1], asked[1], asked[2]
    if image is None or len(asked) < 2:
        raise ValueError(
            "ask needs CHECKPOINT IMAGE QUESTION; or CHECKPOINT ... QUESTION and --image IMAGE"
        )
    return asked[:-1], image, asked[-1]


def names(said: str) -> list[str]:
    """Labels from a file with one a line, or with commas between."""
    file = Path(said)
    lines = said.split(",")
    if os.path.isfile(said):
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as wrong:
            raise ValueError(
                f"{said}: is no text in UTF-8 (byte {wrong.start}): save it so"
            ) from None
    elif len(lines) == 1 and (file.suffix or os.sep in said):
        raise ValueError(f"{said}: no such file of labels (one name a line)")
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError("--labels names nothing: give names with commas between, or a file")
    return found


def asked(said: str) -> str | Path:
    """A query: the path of a picture that is there, else words."""
    if os.path.isfile(said):
        return Path(said)
    if os.path.isdir(said) or said.lower().endswith(PICTURES):
        raise ValueError(f"{said}: no such picture; a query is words, or the path of a picture")
    return said
