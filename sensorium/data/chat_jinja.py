"""Our chat templates told in Jinja, for the tokenizer_config.json of an export.

They are written for others to run; what is found in a file is never run here. A conversation that
`chat.conversation` accepts, its contents texts, is rendered by them as `chat` renders it.
"""

import hashlib

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives"
    " helpful, detailed, and polite answers to the user's questions."
)
SMOLLM2 = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n'"
    " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_APART = (
    "{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}"
    "{% else %}{% set turns = messages %}{% endif %}"
)
JINJA = {
    "chatml": _TURNS,
    "smollm2": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    + SMOLLM2
    + "<|im_end|>\\n' }}{% endif %}"
    + _TURNS,
    "vicuna": _APART
    + "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}"
    + '{% else %}{{ "'
    + VICUNA
    + ' " }}{% endif %}'
    + "{% for m in turns %}{% if m['role'] == 'user' %}"
    + "{{ 'USER: ' + m['content'] + ' ASSISTANT:' }}"
    + "{% else %}{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}",
    "llama-2": _APART
    + "{% for m in turns %}{% if m['role'] == 'assistant' %}"
    + "{{ ' ' + (m['content'] | trim) + ' </s>' }}"
    + "{% elif loop.first and messages[0]['role'] == 'system' %}"
    + "{{ '<s>[INST] ' + (('<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n'"
    + " + m['content']) | trim) + ' [/INST]' }}"
    + "{% else %}{{ '<s>[INST] ' + (m['content'] | trim) + ' [/INST]' }}{% endif %}{% endfor %}",
    "llama-3": "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>'"
    " + m['role'] + '<|end_header_id|>\\n\\n' + (m['content'] | trim) + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
}
SUMS = {hashlib.sha256(text.encode()).hexdigest(): name for name, text in JINJA.items()}
"""The sha256 of each, by which an import knows it again."""
