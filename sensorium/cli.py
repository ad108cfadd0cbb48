"""The command line. Thin: parses, imports what is needed only then, calls, prints."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import sensorium
from sensorium.recipes.code_options import adding
from sensorium.shown import Bar, lines, told
from sensorium.verbs.options import (
    asked,
    asking,
    captioning,
    chatting,
    importing,
    inspecting,
    names,
    scoring,
)
from sensorium.verbs.speech.options import chosen_model, transcribing


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns 0 when done, 1 when it failed, 2 for wrong use, 130 when stopped."""
    words = sys.argv[1:] if argv is None else argv
    options, rest = parser().parse_known_args(words)
    if rest and options.command not in ("train", "ask"):
        parser().error(f"unknown words: {' '.join(rest)}")
    if options.command is None:
        parser().print_help()
        return 2
    try:
        options.run(options, rest)
    except KeyboardInterrupt as stop:
        print(f"sensorium: {stop or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, OSError) as error:
        print(f"sensorium: {told(error)}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options; those of recipes are their arguments, see recipes.flags."""
    top = argparse.ArgumentParser(
        prog="sensorium", description="Multimodal foundation models, trained and checked."
    )
    top.add_argument("--version", action="version", version=sensorium.__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--json", action="store_true", help="print one JSON object at the end")
        made.set_defaults(run=run)
        return made

    one = command("train", train, "run a recipe: train, score, report")
    one.add_argument("recipe", help="its name, as `sensorium recipes` lists it")
    one.add_argument("--out", type=Path, help="the run's folder (default: runs/RECIPE-DATE)")
    one.add_argument("--plan", action="store_true", help="what it would take; starts nothing")
    one = command("resume", resume, "go on with a run that was stopped")
    one.add_argument("folder", type=Path, help="the run's folder")

    one = command("evaluate", evaluate, "score a model on a task")
    source(one)
    scoring(one)

    one = command("classify", classify, "name what pictures show")
    source(one)
    one.add_argument("images", nargs="+", help="picture files")
    one.add_argument("--labels", help="names with commas between, or a file with one a line")
    one.add_argument("--templates", help="a table of prompts, or one prompt with a {}")

    asking(command("ask", ask, "answer a question about a picture, by one model or several"))
    one = command("caption", caption, "say what pictures show")
    source(one)
    captioning(one)
    inspecting(command("data", data, "show what a training would learn of conversations"))

    one = command("embed", embed, "write the vectors of pictures or texts to a .npy file")
    source(one)
    what = one.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", nargs="+", help="picture files")
    what.add_argument("--texts", nargs="+", help="texts")
    one.add_argument("--out", type=Path, required=True, help="the .npy file to write")

    one = command("index", index, "make pictures searchable; run again to bring up to date")
    one.add_argument("folder", type=Path, help="the pictures")
    one.add_argument("--model", required=True, help="a checkpoint folder")
    one.add_argument("--out", type=Path, required=True, help="the index's folder")
    one = command("search", search, "find pictures by words, or by a picture")
    one.add_argument("index", type=Path, help="the index's folder")
    one.add_argument("query", help="words, or the path of a picture")
    one.add_argument("--model", help="a checkpoint folder (default: the one it was made with)")
    one.add_argument("-k", type=int, default=12, help="how many (default: 12)")
    one.add_argument("--sheet", type=Path, help="where the contact sheet goes (PNG)")

    one = command("regions", regions, "write what a detector sees in pictures to a file")
    one.add_argument("folder", type=Path, help="the pictures")
    one.add_argument("--model", required=True, help="the checkpoint folder of a detector")
    one.add_argument("--out", type=Path, required=True, help="the file; run again to go on")
    one.add_argument("--format", default="lxmert", help="lxmert, butd, npz or uniter")
    one.add_argument("--min", type=int, default=10, help="regions a picture, at least")
    one.add_argument("--max", type=int, default=100, help="regions a picture, at most")
    one.add_argument("--conf", type=float, default=0.2, help="probability of the likeliest class")
    one.add_argument("--refined", action="store_true", help="boxes corrected for that class")

    transcribing(command("transcribe", transcribe, "write down what is said in recordings"))

    importing(command("import", import_, "turn a published file into a checkpoint folder"))
    one = command("export", export, "write a checkpoint in a published layout")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("--layout", required=True, help="the layout to write")
    one.add_argument("--out", type=Path, required=True, help="the file or folder to write")
    one = command("merge", merge, "work the additions of LoRA into a checkpoint's weights")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")
    one = command("verify", verify, "prove that a checkpoint gives the outputs it was saved with")
    one.add_argument("checkpoint", type=Path)

    one = command("chat", chat, "talk with a language model in the terminal")
    source(one)
    chatting(one)
    adding(command, programs)

    one = command("reproduce", reproduce, "measure a paper's claim again, at small scale")
    one.add_argument("systems", nargs="+", help="clip, uniter, albef and others")
    one.add_argument("--out", type=Path, default=Path("docs/claims"), help="where results go")

    one = command("models", models, "list the systems, or show one")
    one.add_argument("system", nargs="?", help="a system: clip")
    one.add_argument("size", nargs="?", help="one of its sizes: ViT-B/32")
    command("recipes", recipes, "list what can be trained")
    command("datasets", datasets, "list the data sets that can be read")
    command("doctor", doctor, "say what this machine can do and what is missing")
    return top


def source(command: argparse.ArgumentParser) -> None:
    """The options that name a model."""
    command.add_argument("checkpoint", help="a checkpoint folder, or a published file")
    command.add_argument("--layout", help="of a published file")
    command.add_argument("--precision", default="float32", choices=["float32", "bf16"])


# --- commands ---------------------------------------------------------------------------------


def train(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.execute import start
    from sensorium.recipes.find import recipe
    from sensorium.recipes.flags import parse
    from sensorium.recipes.plan import plan

    given = parse(options.recipe, recipe(options.recipe), words)
    if options.plan:
        show(plan(options.recipe, given), options.json)
        return
    if options.out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("several ranks need one folder between them: say which with --out")
    folder = options.out or Path("runs") / f"{options.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    show(start(options.recipe, given, folder, say), options.json)


def resume(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.execute import resume

    show(resume(options.folder, say), options.json)


def evaluate(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.evaluate import TASKS, evaluate

    if options.task == "list":
        show({name: (task.__doc__ or "").strip() for name, task in TASKS.items()}, options.json)
        return
    at = options.records
    if at is not None and (at.is_dir() or not at.absolute().parent.is_dir()):
        raise ValueError(f"{at}: records go into a file in a folder that exists; choose another")
    model, bar = opened(options), Bar("embedding")
    finder = None if options.detector is None else sensorium.load(options.detector)
    more = (options.templates, options.records, bar, finder)
    found = evaluate(model, options.task, options.data, *more)
    show(found, options.json)


def classify(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.data import prompts

    named = None if options.labels is None else names(options.labels)
    model = opened(options)
    templates = ("a photo of a {}.",)
    if options.templates is not None:
        given = options.templates
        templates = (given,) if "{}" in given else prompts.templates(given)
    shares = model.classify(options.images, named, templates)
    labels = named or model.manifest.get("labels") or [str(i) for i in range(shares.shape[1])]
    found = {
        image: {labels[i]: round(float(row[i]), 6) for i in row.argsort()[::-1][:5]}
        for image, row in zip(options.images, shares, strict=True)
    }
    show(found, options.json)


def ask(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.asking import asked_for

    options.asked += words  # a question behind --image
    show(asked_for(options), options.json)


def caption(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.tell import captioned

    show(captioned(opened, options), options.json)


def data(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.audit import asked_for

    found, shown = asked_for(options, sys.stdout.isatty(), Bar("reading"))
    print("\n".join(shown))
    show(found, options.json)
    if found["refused"]:
        raise ValueError(f"{len(found['refused'])} conversations would be refused, see above")


def embed(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.save import check_place, save_array

    check_place(options.out)
    empty = [i for i, text in enumerate(options.texts or (), 1) if not text.strip()]
    if empty:
        raise ValueError(f"--texts: text {empty[0]} is empty; leave it out")
    vectors = opened(options).embed(images=options.images, texts=options.texts)
    save_array(options.out, vectors)
    show({"file": str(options.out), "shape": list(vectors.shape)}, options.json)


def index(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.index import index
    from sensorium.verbs.open import load

    found = index(load(options.model), options.folder, options.out, Bar("embedding"))
    unreadable = [f"{u.path}: {u.reason}" for u in found.unreadable]
    recall = found.recall and found.recall._asdict()
    rest = {"index": str(found.at), "unreadable": unreadable, "recall": recall or "exact"}
    show({k: v for k, v in found._asdict().items() if k != "at"} | rest, options.json)


def search(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.index import made_with, search
    from sensorium.verbs.open import load
    from sensorium.verbs.sheet import sheet

    query = asked(options.query)
    model = load(options.model or made_with(options.index))
    hits = search(model, options.index, query, options.k)
    at = options.sheet or options.index.parent / f"{options.index.name}-search.png"
    sheet(at, query, hits)
    found = [
        {"rank": h.rank, "score": round(float(h.score), 4), "path": str(h.path)}
        | ({"missing": True} if h.missing else {})
        for h in hits
    ]
    show({"hits": found, "sheet": str(at)}, options.json)


def regions(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.models.detector_regions import Choice
    from sensorium.recipes.regions import extract
    from sensorium.verbs.open import load

    o, bar = options, Bar("seeing")
    choice = Choice(o.min, o.max, o.conf, refined=o.refined)
    show(extract(load(o.model), o.folder, o.out, o.format, choice, bar), o.json)


def transcribe(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.open import load
    from sensorium.verbs.speech.deliver import deliver

    pickled, precision = options.pickle, options.precision
    at = chosen_model(options.model)
    model = load(at, options.layout, allow_pickle=pickled, precision=precision)
    found = deliver(model, options, Bar("transcribing"), typed)
    print(json.dumps(found.told, ensure_ascii=False) if options.json else found.shown, end="")
    if found.failures:
        raise ValueError("\n".join([f"{len(found.failures)} files failed:", *found.failures]))


def import_(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.exchange import import_model

    o, given = options, {"lm": options.lm, "tower": options.tower}
    parts = {name: at for name, at in given.items() if at is not None}
    more = {"act": o.act, "allow_pickle": o.allow_pickle, "parts": parts}
    show(import_model(o.file, o.layout, o.out, **more), o.json)


def export(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.exchange import export_model

    show(export_model(options.checkpoint, options.layout, options.out), options.json)


def merge(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.merge import merge_model

    show(merge_model(options.checkpoint, options.out), options.json)


def verify(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.verify import verify

    found = verify(options.checkpoint)
    show(found, options.json)
    if not found["holds"]:
        raise ValueError(f"{options.checkpoint} does not give the outputs it was saved with")


def chat(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.verbs.terminal import HELP, converse, settings

    told, model = settings(options.set), opened(options)
    model.quicken(options.bits)
    talk = model.talk(options.template)
    say(HELP)
    converse(talk, sys.stdin, told, typed, options.system, options.image)


def programs(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.code_command import programs

    programs(options, show, Bar("running"))


def reproduce(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.claims.reproduce import reproduce

    show(reproduce(options.systems, options.out, say), options.json)


def models(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.models.listing import one, table

    show(one(options.system, options.size) if options.system else table(), options.json)


def recipes(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.find import recipes

    found = {name: (function.__doc__ or "").splitlines()[0] for name, function in recipes()}
    show(found, options.json)


def datasets(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.datasets.listing import table

    show(table(), options.json)


def doctor(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.doctor import examine

    show(examine(), options.json)


def opened(options: argparse.Namespace) -> Any:
    """The model that the options name."""
    from sensorium.verbs.open import load

    return load(options.checkpoint, options.layout, precision=options.precision)


# --- what people see ----------------------------------------------------------------------------


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def typed(text: str) -> None:
    """A piece of text as it comes."""
    print(text, end="", flush=True)


def show(found: dict[str, Any], as_json: bool) -> None:
    """The result: for people, or as one JSON object on the last line of standard output."""
    if found:
        print(json.dumps(found) if as_json else "\n".join(lines(found)))
