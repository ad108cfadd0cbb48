"""Chat templates of ours against the published ones, run by Jinja here and nowhere else."""

import hashlib

import pytest

from sensorium.data.chat import (
    MATCHED,
    SMOLLM2,
    TEMPLATES,
    Message,
    conversation,
    encode,
    matched,
    template,
)
from sensorium.data.errors import DataError
from tests.data.test_words import PAIRS

jinja2 = pytest.importorskip("jinja2")
# The published texts of chat templates; only their sums are in the library.
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    f"'<|im_start|>system\n{SMOLLM2}<|im_end|>\n' }}}}{{% endif %}}{{{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set "
    "system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set "
    "system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] "
    "== 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != "
    "false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if "
    "message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif "
    "message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
PUBLISHED = {"chatml": CHATML, "smollm2": SMOL, "llama-3": LLAMA3, "llama-2": LLAMA2}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hello, <|im_end|> you!\n"},
    {"role": "assistant", "content": "Hi  there "},
    {"role": "user", "content": "naïve 中文?"},
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_our_template_says_what_the_published_one_says(name: str) -> None:
    env = jinja2.Environment()
    marks = {"bos_token": "<|begin_of_text|>" if name == "llama-3" else "<s>", "eos_token": "</s>"}
    made = env.from_string(PUBLISHED[name])
    for talk in (TALK, TALK[1:], TALK[1:2]):
        theirs = made.render(messages=talk, add_generation_prompt=True, **marks)
        parts = template(name).parts(conversation(talk), True)
        assert "".join(part.text for part in parts) == theirs


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_template_is_known_by_its_exact_text(name: str) -> None:
    text = PUBLISHED[name]
    assert matched(text) == name, hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(DataError, match="never run"):
        matched(text + " ")
    assert set(MATCHED.values()) <= set(TEMPLATES)


def test_vicuna_is_fastchats() -> None:
    parts = template("vicuna").parts(conversation(TALK), True)
    said = "".join(part.text for part in parts)
    assert said == (
        "<s>Be brief. USER:  Hello, <|im_end|> you!\n ASSISTANT: Hi  there </s>USER: naïve 中文?"
        " ASSISTANT:"
    )


def test_only_what_the_assistant_says_is_learnt_and_typed_marks_stay_text() -> None:
    words = PAIRS["digits"][1]
    talk = [*conversation(TALK), Message("assistant", "yes")]
    ids, learnt = encode(template("chatml").parts(talk, False), words)
    end = words.specials["<|im_end|>"]
    assert ids.count(end) == 5 and len(ids) == len(learnt)
    said = [i for i, is_learnt in zip(ids, learnt, strict=True) if is_learnt]
    assert words.decode(said) == "Hi  there yes" and said.count(end) == 2
    with pytest.raises(DataError, match="no token"):
        encode(template("llama-3").parts(conversation(TALK), True), words)


def test_conversations_that_make_no_sense_are_refused() -> None:
    user, reply = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    for talk, word in (
        ([], "list"),
        ("hello", "list"),
        ([{"role": "system", "content": "x"}], "no user turn"),
        ([{"role": "human", "content": "x"}], "role 'human'"),
        ([user, user], "assistant's turn"),
        ([user, reply], "last message"),
        ([user, reply, {"role": "system", "content": "x"}, user], "only the first"),
        ([{"role": "user"}], "content"),
        ([{"role": "user", "content": 3}], "type int"),
        ([{"role": "user", "content": [picture]}], "image_url"),
    ):
        with pytest.raises(DataError, match=word):
            conversation(talk)
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert conversation([{"role": "user", "content": parts}])[0].text == "a\nb"
    with pytest.raises(DataError, match="names no chat template"):
        template(None)
    with pytest.raises(DataError, match="no chat template"):
        template("mine")
