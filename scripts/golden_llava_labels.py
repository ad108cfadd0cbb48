"""Makes golden/llava-labels.json: which tokens LLaVA's own code trains, of ragged conversations.

    python -m scripts.golden_llava_labels CHECKOUT    # of github.com/haotian-liu/LLaVA

Wants transformers 4.37.2 and sentencepiece; the tokenizer is a small LLaMA one, learnt here. The
file holds its pieces, the conversations, and what llava/train/train.py makes of each: ids (-200 is
a picture) and labels (-100 is not trained), for every template and both ways of LLaMA's tokenizer
to treat what stands behind a special token (`legacy`). "USER" is one piece and " USER" two, as in
LLaMA's own table: the authors' masks count on that where `legacy` is off.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden" / "llava-labels.json"
TEMPLATES = {"vicuna": "v1", "llama-2": "llava_llama_2", "plain": "plain"}
LENGTH = 2048
SYSTEM = "You see pictures, and say what they show."


def turns(*texts: str) -> list[dict[str, str]]:
    """What a human and the model say by turns."""
    return [{"from": ("human", "gpt")[i % 2], "value": one} for i, one in enumerate(texts)]


def row(name: str, *texts: str, image: bool = False) -> dict[str, Any]:
    """A conversation in LLaVA's form."""
    return {"id": name, "conversations": turns(*texts)} | ({"image": "a.png"} if image else {})


ROWS = [
    row("one round", "What is two and two?", "Four."),
    row("three rounds", "Hello!", "Hi.", "Who are you?", "A model that reads.", "Bye", "Bye bye."),
    row("front", "<image>\nWhat is in the picture?", "A red cat on a mat.", image=True),
    row("behind", "What is in the picture?\n<image>", "A dog.", image=True),
    row(
        "ragged",
        *("<image>\nHow many cats?", "Two.", "And dogs?", "There is no dog, but a bird: see it?"),
        *("Why?", "It sings.\nAll day.\n\nAnd it flies.", "Sure", "Yes"),
        image=True,
    ),
    row("in the second", "Hello!", "Hi.", "<image>\nWhat is it?", "A cat.", image=True),
    row("letters", "Naïve café, 12345 + 67?", "12412 — naïve 😀 中文", "x=1;\ty", "{y: [1, 2]}"),
    row("spaces inside", "a  b   c", "d  e   f", "g", "h"),
    row("an end", "Say it.", "USER: who, ASSISTANT:me", "Again", "Again."),
]
ODD = [  # where theirs and ours are known to differ
    row("spaces around", " a ", " b ", " c ", " d "),
    row("a name typed", "Write ASSISTANT: yes", "ASSISTANT: yes", "And?", "No."),
    row("an end typed", "What is </s> there?", "It is </s>, an end.", "And?", "No."),
]
CAPTIONS = [
    row("caption", "Describe it.\n<image>", "a red cat on a mat", image=True),
    row("long", "<image>", "a bird, which sings\nall day — naïve 😀", image=True),
    row("space", "<image>", " a dog ", image=True),
]


def learnt(at: Path) -> Any:
    """A small tokenizer of LLaMA's kind; its pieces and their scores."""
    import sentencepiece  # type: ignore[import-not-found]
    from transformers.convert_slow_tokenizer import import_protobuf

    texts = [t["value"] for one in (*ROWS, *ODD, *CAPTIONS) for t in one["conversations"]]
    texts = [t.replace("<image>", " ").replace("</s>", " ") for t in texts]
    texts += [SYSTEM, "USER: ASSISTANT: [INST] [/INST] <<SYS>> <</SYS>>", "a human user asks"] * 3
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(at / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        pad_id=-1,
        minloglevel=2,
    )
    file = at / "tokenizer.model"
    proto: Any = import_protobuf()
    model = proto.ModelProto.FromString(file.read_bytes())
    (piece,) = (one for one in model.pieces if one.piece == "▁USER")
    piece.piece = "USER"
    file.write_bytes(model.SerializeToString())
    return sentencepiece.SentencePieceProcessor(model_file=str(file))


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    import transformers
    from llava import conversation  # type: ignore[import-not-found]
    from llava.train import train  # type: ignore[import-not-found]

    out: dict[str, Any] = {"system": SYSTEM, "cases": []}
    with tempfile.TemporaryDirectory() as folder:
        spm = learnt(Path(folder))
        count = range(spm.get_piece_size())
        out["names"] = [spm.id_to_piece(i) for i in count]
        out["scores"] = [round(spm.get_score(i), 4) for i in count]
        for legacy in (True, False):
            words: Any = transformers.LlamaTokenizer(
                f"{folder}/tokenizer.model", legacy=legacy, model_max_length=LENGTH
            )
            words.pad_token = words.unk_token
            for name, theirs in TEMPLATES.items():
                form = conversation.conv_templates[theirs].copy()
                form.system = SYSTEM if name != "plain" else ""
                conversation.default_conversation = form
                for kind, rows in (("same", ROWS), ("odd", ODD)):
                    for one in CAPTIONS if name == "plain" else rows:
                        made = said(train, words, one)
                        case = {"template": name, "legacy": legacy, "kind": kind, "row": one}
                        out["cases"].append(case | made)
                    if name == "plain":
                        break
    GOLDEN.write_text(json.dumps(out, ensure_ascii=False) + "\n")


def said(train: Any, words: Any, one: dict[str, Any]) -> dict[str, list[int]]:
    """The ids and the labels of a conversation, as `LazySupervisedDataset` makes them."""
    sources, seen = [copy.deepcopy(one["conversations"])], "image" in one
    if seen:
        about = SimpleNamespace(is_multimodal=True, mm_use_im_start_end=False)
        sources = train.preprocess_multimodal(sources, about)
    made = train.preprocess(sources, words, has_image=seen)
    return {"ids": made["input_ids"][0].tolist(), "labels": made["labels"][0].tolist()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
