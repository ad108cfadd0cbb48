"""What the ids of a Whisper mean: text, languages, tasks, timestamps (Radford et al. 2022, 2.3).

The text part is GPT-2's bytes-to-words with one of two vocabularies; special tokens follow it in an
order that depends on how many languages there are.
"""

import base64
import binascii
import gzip
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import BYTES
from sensorium.data.tokenizers.byte_level import ByteLevel, Table

STAMPS, STEP = 1501, 0.02  # timestamps from 0 to 30 s, in seconds
ENGLISH_ONLY = 51864  # the vocabulary of models that know English alone


def _pairs(text: str) -> dict[str, str]:
    """The words "a:b" of a text as a table."""
    parts = (pair.partition(":") for pair in text.split())
    return {a: b for a, _, b in parts}


LANGUAGES = _pairs(
    "en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese"
    " pt:portuguese tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian"
    " id:indonesian hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay"
    " cs:czech ro:romanian da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu"
    " hr:croatian bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak"
    " te:telugu fa:persian lv:latvian bn:bengali sr:serbian az:azerbaijani sl:slovenian"
    " kn:kannada et:estonian mk:macedonian br:breton eu:basque is:icelandic hy:armenian"
    " ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi"
    " pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali af:afrikaans oc:occitan"
    " ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic yi:yiddish lo:lao"
    " uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese"
    " sa:sanskrit lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese"
    " tt:tatar haw:hawaiian ln:lingala ha:hausa ba:bashkir jw:javanese su:sundanese"
    " yue:cantonese"
)
OTHERS = _pairs(
    "burmese:my valencian:ca flemish:nl haitian:ht letzeburgesch:lb pushto:ps panjabi:pa"
    " moldavian:ro moldovan:ro sinhalese:si castilian:es mandarin:zh"
)
WHOLE = {"zh", "ja", "th", "lo", "my", "yue"}  # written without spaces between words


def language_code(said: str) -> str:
    """The code of a language by its code or its English name.

    DataError: there is none; the message lists all codes.
    """
    name = said.strip().lower().replace(" ", "_")
    codes = {language: code for code, language in LANGUAGES.items()} | OTHERS
    found = name if name in LANGUAGES else codes.get(name)
    if found is None:
        known = ", ".join(sorted(LANGUAGES))
        raise DataError(f"language {said!r} is not known; give a name or one of the codes {known}")
    return found


def specials(vocab: int) -> dict[str, int]:
    """The special tokens of a model with so many ids, in their order.

    DataError: no model has so many.
    """
    many = vocab > ENGLISH_ONLY
    languages = vocab - ENGLISH_ONLY + 98 if many else 99
    if vocab < ENGLISH_ONLY or languages > len(LANGUAGES):
        most = ENGLISH_ONLY + 2
        raise DataError(f"a Whisper has {ENGLISH_ONLY} to {most} ids, not {vocab}")
    names = ["<|endoftext|>", "<|startoftranscript|>"]
    names += [f"<|{code}|>" for code in list(LANGUAGES)[:languages]]
    names += [f"<|{name}|>" for name in ("translate", "transcribe", "startoflm", "startofprev")]
    names += ["<|nospeech|>", "<|notimestamps|>"]
    names += [f"<|{i * STEP:.2f}|>" for i in range(STAMPS)]
    return {name: vocab - len(names) + i for i, name in enumerate(names)}


@lru_cache(maxsize=3)
def published(vocab: int) -> ByteLevel:
    """The tokenizer of the released models with so many ids, of the tables in this package."""
    name = "english" if vocab == ENGLISH_ONLY else "multilingual"
    at = files("sensorium.data.tokenizers") / "tables" / f"whisper_{name}.tiktoken.gz"
    lines = gzip.decompress(at.read_bytes()).decode().splitlines()
    try:
        ranked = [base64.b64decode(line.split()[0], validate=False) for line in lines]
    except binascii.Error as wrong:
        raise DataError(f"{at}: is damaged: {wrong}") from wrong
    return whisper_words(ranked, vocab)


def whisper_words(ranked: Sequence[bytes], vocab: int) -> ByteLevel:
    """The tokenizer of a vocabulary in the order it was learnt; what follows it is special.

    DataError: too few or too many words for the model, or words that no merges make.
    """
    apart = specials(vocab)
    text = vocab - len(apart)
    if len(ranked) not in (text, text - 1):
        raise DataError(f"a vocabulary of {len(ranked)} words; a model of {vocab} ids has {text}")
    names = ["".join(BYTES[b] for b in word) for word in ranked]
    names += [""] * (text - len(names))  # one id of the multilingual models spells nothing
    eot = apart["<|endoftext|>"]
    table = Table([*names, *apart], merges_of(ranked), "gpt2", apart, eos=eot, pad=eot)
    return ByteLevel(table)


def merges_of(ranked: Sequence[bytes]) -> list[str]:
    """The merges that a vocabulary was learnt by: each word's last step, in order of the words.

    DataError: a word is not made of two before it.
    """
    rank = {word: i for i, word in enumerate(ranked)}
    merges = []
    for own, word in enumerate(ranked):
        if len(word) < 2:
            continue
        pairs = [(word[:i], word[i:]) for i in range(1, len(word))]
        known = [p for p in pairs if rank.get(p[0], own) < own and rank.get(p[1], own) < own]
        parts = list(known[0]) if len(known) == 1 else _last_step(word, own, rank)
        if len(parts) != 2:
            raise DataError(f"word {own} of the vocabulary ({word!r}) is not made of two before it")
        merges.append(" ".join("".join(BYTES[b] for b in part) for part in parts))
    return merges


def _last_step(word: bytes, own: int, rank: Mapping[bytes, int]) -> list[bytes]:
    """What is left of a word when all merges before its own are done."""
    parts = [word[i : i + 1] for i in range(len(word))]
    while len(parts) > 2:
        pairs = [rank.get(a + b, own) for a, b in pairwise(parts)]
        best = min(pairs)
        if best >= own:
            break
        at = pairs.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


class Spoken:
    """A Whisper's ids by meaning.

    Attributes:
        many: whether it knows other languages than English.
        languages: the id of each language's token, by code; empty where it knows English alone.
        stamp: the id of the timestamp 0.00; all from there on are timestamps.
    """

    def __init__(self, words: ByteLevel):
        self.words = words
        of = words.specials
        want = specials(words.vocab)
        if of != want:
            wrong = sorted(set(of.items()) ^ set(want.items()))[:3]
            raise DataError(f"the special tokens are not those of a Whisper: {wrong}")
        self.eot, self.sot = of["<|endoftext|>"], of["<|startoftranscript|>"]
        self.translate, self.transcribe = of["<|translate|>"], of["<|transcribe|>"]
        self.start_of_lm, self.start_of_prev = of["<|startoflm|>"], of["<|startofprev|>"]
        self.no_speech, self.no_stamps = of["<|nospeech|>"], of["<|notimestamps|>"]
        self.stamp = of["<|0.00|>"]
        self.many = words.vocab > ENGLISH_ONLY
        codes = [code for code in LANGUAGES if self.many and f"<|{code}|>" in of]
        self.languages = {code: of[f"<|{code}|>"] for code in codes}

    def start(self, language: str, task: str = "transcribe") -> list[int]:
        """The tokens a transcript begins with, before a timestamp or the one for none.

        DataError: a language or task that this model has not.
        """
        if task not in ("transcribe", "translate"):
            raise DataError(f"task {task!r} is not known: transcribe or translate")
        if not self.many:
            if language != "en" or task != "transcribe":
                raise DataError(
                    f"this model transcribes English alone ({task}, language {language!r} asked"
                    " for): take a multilingual one"
                )
            return [self.sot]
        if language not in self.languages:
            raise DataError(f"this model does not know language {language!r}")
        asked = self.transcribe if task == "transcribe" else self.translate
        return [self.sot, self.languages[language], asked]

    def unspoken(self) -> list[int]:
        """What is no speech: symbols, brackets, music notes, alone or after a space."""
        symbols = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
        symbols += SIGNS.split()
        notes = [*"♩♪♫♬♭♮♯"]
        found = {self.words.encode(" -")[0], self.words.encode(" '")[0]}
        for symbol in symbols + notes:
            for ids in (self.words.encode(symbol), self.words.encode(f" {symbol}")):
                if len(ids) == 1 or symbol in notes:
                    found.add(ids[0])
        return sorted(found)

    def forbidden(self, more: Iterable[int] = (-1,)) -> list[int]:
        """What is never said: special tokens, and `more`, in which -1 stands for `unspoken`."""
        given = set(more)
        out = {i for i in given if i >= 0} | (set(self.unspoken()) if -1 in given else set())
        out |= {self.transcribe, self.translate, self.sot, self.start_of_prev, self.start_of_lm}
        return sorted(out | {self.no_speech})

    def blank(self) -> list[int]:
        """What a transcript does not begin with: a space alone, and its end."""
        return [*self.words.encode(" "), self.eot]

    def text(self, ids: Iterable[int]) -> str:
        """The text among ids."""
        return self.words.decode(i for i in ids if i < self.eot)

    def split(self, ids: Sequence[int], language: str) -> tuple[list[str], list[list[int]]]:
        """Ids as words with the ids of each: at spaces, or where there are none at letters."""
        words, parts = self._letters(ids)
        if language in WHOLE:
            return words, parts
        out: list[str] = []
        joined: list[list[int]] = []
        for word, part in zip(words, parts, strict=True):
            own = part[0] >= self.eot or word.startswith(" ") or word.strip() in PUNCTUATION
            if own or not out:
                out.append(word)
                joined.append(list(part))
            else:
                out[-1] += word
                joined[-1] += part
        return out, joined

    def _letters(self, ids: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """The shortest runs of ids that are whole letters."""
        spelt = [self.words.spelt(i) for i in ids]
        whole = b"".join(spelt).decode("utf-8", errors="replace")
        words: list[str] = []
        parts: list[list[int]] = []
        held, data, at = [], b"", 0
        for i, piece in zip(ids, spelt, strict=True):
            held.append(i)
            data += piece
            text = data.decode("utf-8", errors="replace")
            place = at + text.index("\ufffd") if "\ufffd" in text else -1
            if place < 0 or (place < len(whole) and whole[place] == "\ufffd"):
                words.append(text)
                parts.append(held)
                at += len(text)
                held, data = [], b""
        return words, parts


SIGNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
