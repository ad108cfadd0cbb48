"""Makes golden/wordpiece.json: what BERT's own tokenizer makes of texts in many scripts.

    python -m scripts.golden_wordpiece CHECKOUT    # of github.com/google-research/bert

The texts are drawn with a fixed seed from assigned characters of Unicode 11, spaces and control
characters among them; the vocabulary is a few dozen pieces that occur in them.
"""

import importlib.util
import json
import random
import sys
import types
import unicodedata
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "wordpiece.json"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *("the", "red", "circle", "un", "##aff", "##able", "##s", "a", "##a", "##b", "b", "e", "##e"),
    *("é", "ß", "ss", "##ss", "i", "##i", "x", "##x"),
]
FIXED = [
    *("The unaffables, the RED circle!", "\tred\x00 \ufffdred\u200bun\u3000red", "é É e\u0301 ÉE"),
    *("ßss ΑΣ İ ǅ ﬀ", "'' a.b.a [MASK] [SEP]", "x" * 201, "x" * 200, "", "   ", "a-b_c$d"),
    *("\u2028a\x85b\x1ca\u2029b", "中文red日本語 한국어 ไทย עברית العربية हिन्दी", "🙂a🙃"),
]


def main(checkout: Path) -> None:
    theirs = original(checkout / "tokenization.py")
    texts = [*FIXED, *drawn(300)]
    vocab = [*SPECIAL, *dict.fromkeys([*PIECES, *common(theirs, texts)])]
    table = {piece: i for i, piece in enumerate(vocab)}
    cut = theirs.WordpieceTokenizer(vocab=table)
    rows = []
    for text in texts:
        row: dict[str, object] = {"text": text}
        for lower in (True, False):
            words = theirs.BasicTokenizer(do_lower_case=lower).tokenize(text)
            ids = [table[piece] for word in words for piece in cut.tokenize(word)]
            row["lower" if lower else "cased"] = ids
        rows.append(row)
    GOLDEN.write_text(json.dumps({"vocab": vocab, "texts": rows}) + "\n")


def original(path: Path) -> types.ModuleType:
    """tokenization.py, without the TensorFlow that it opens files by."""
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    sys.modules["six"] = six = types.ModuleType("six")
    vars(six).update(PY2=False, PY3=True)
    spec = importlib.util.spec_from_file_location("tokenization", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(count: int) -> list[str]:
    """Texts of up to 24 characters, half of them Latin."""
    dice = random.Random(0)
    old = unicodedata.ucd_3_2_0
    wide = [c for c in map(chr, range(0x30000)) if old.category(c) not in ("Cn", "Cs", "Co")]
    plain = "abeixsABEIXS  .,!'-éÉßÄä\u0301"
    out = []
    for _ in range(count):
        pool = [dice.choice(plain) if dice.random() < 0.5 else dice.choice(wide) for _ in range(24)]
        out.append("".join(pool[: dice.randrange(1, 25)]))
    return out


def common(theirs: types.ModuleType, texts: list[str]) -> list[str]:
    """Every third single-character word, so that some are known and some are not."""
    basic = theirs.BasicTokenizer(do_lower_case=False)
    found = sorted({word for text in texts for word in basic.tokenize(text) if len(word) == 1})
    return found[::3]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
