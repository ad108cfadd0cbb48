"""What a Whisper's ids mean."""

import pytest

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.data.tokenizers.spoken import (
    LANGUAGES,
    Spoken,
    language_code,
    merges_of,
    published,
    specials,
)


def test_special_tokens_stand_where_the_released_models_have_them() -> None:
    english, many, more = specials(51864), specials(51865), specials(51866)
    for name, ids in {
        "<|endoftext|>": (50256, 50257, 50257),
        "<|startoftranscript|>": (50257, 50258, 50258),
        "<|en|>": (50258, 50259, 50259),
        "<|su|>": (50356, 50357, 50357),
        "<|translate|>": (50357, 50358, 50359),
        "<|transcribe|>": (50358, 50359, 50360),
        "<|startofprev|>": (50360, 50361, 50362),
        "<|nospeech|>": (50361, 50362, 50363),
        "<|notimestamps|>": (50362, 50363, 50364),
        "<|0.00|>": (50363, 50364, 50365),
        "<|30.00|>": (51863, 51864, 51865),
    }.items():
        assert (english[name], many[name], more[name]) == ids
    assert more["<|yue|>"] == 50358 and "<|yue|>" not in many and len(LANGUAGES) == 100
    with pytest.raises(DataError, match="not 100"):
        specials(100)


@pytest.fixture(scope="module")
def many() -> Spoken:
    return Spoken(published(51865))


@pytest.mark.parametrize("text", ["Hello, it's 12.5%!", "  naïve\n日本語", "👍🏽 don't", ""])
def test_texts_come_back(many: Spoken, text: str) -> None:
    ids = many.words.encode(text)
    assert many.text([many.sot, *ids, many.stamp, many.eot]) == text


def test_known_ids(many: Spoken) -> None:
    assert many.words.encode(" ") == [220] and many.blank() == [220, 50257]
    assert len(many.unspoken()) == 82 and len(many.forbidden()) == 88
    assert many.start("de", "translate") == [50258, 50261, 50358]
    with pytest.raises(DataError, match="does not know language 'yue'"):
        many.start("yue")


def test_a_model_of_english_alone() -> None:
    one = Spoken(published(51864))
    assert one.start("en") == [50257] and not one.languages
    assert len(one.unspoken()) == 84 and len(one.forbidden()) == 90
    with pytest.raises(DataError, match="transcribes English alone"):
        one.start("fr")


def test_words_are_split_at_spaces_or_at_letters(many: Spoken) -> None:
    ids = many.words.encode(" Hello there, naïve")
    words, parts = many.split([*ids, many.eot], "en")
    assert words == [" Hello", " there", ",", " naïve", "<|endoftext|>"]
    assert [i for part in parts for i in part] == [*ids, many.eot]
    ids = many.words.encode("今日は元気")
    words, parts = many.split(ids, "ja")
    assert "".join(words) == "今日は元気" and len(words) > 2


def test_languages_by_name_and_code() -> None:
    assert language_code("German") == language_code(" de ") == "de"
    assert language_code("haitian creole") == "ht" and language_code("Castilian") == "es"
    with pytest.raises(DataError, match="'klingon' is not known"):
        language_code("klingon")


def test_merges_are_found_from_the_order_of_words() -> None:
    ranked = [bytes([b]) for b in range(256)] + [b"th", b"the", b"in", b"thin"]
    assert merges_of(ranked) == ["t h", "th e", "i n", "th in"]
    with pytest.raises(DataError, match="not made of two"):
        merges_of([b"a", b"abc"])


def test_other_tokenizers_are_refused(many: Spoken) -> None:
    table = many.words.table
    wrong = {name: i for name, i in table.specials.items() if name != "<|30.00|>"}
    with pytest.raises(DataError, match="not those of a Whisper"):
        Spoken(ByteLevel(table._replace(specials=wrong)))
