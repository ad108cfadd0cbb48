"""The files that stand beside Whisper's weights in a Hugging Face folder, for transformers."""

import json
from collections.abc import Mapping
from typing import Any

from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, Spoken, published
from sensorium.models.declaration import Declaration
from sensorium.models.published import built, must
from sensorium.models.whisper import whisper


def hf_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """config.json, how to generate, the front end, and the tokenizer."""
    must(built(declaration, whisper), "hf-whisper", "it holds Whisper models only")
    args, size = declaration.args, declaration.args["size"]
    config: dict[str, Any] = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": size.width,
        "encoder_layers": args["listening"],
        "decoder_layers": size.layers,
        "encoder_attention_heads": size.heads,
        "decoder_attention_heads": size.heads,
        "encoder_ffn_dim": 4 * size.width,
        "decoder_ffn_dim": 4 * size.width,
        "num_mel_bins": args["mels"],
        "vocab_size": args["vocab"],
        "max_source_positions": args["frames"],
        "max_target_positions": args["length"],
        "activation_function": "gelu",
        "scale_embedding": False,
        "torch_dtype": "float32",
    }
    front = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": args["mels"],
        "sampling_rate": 16000,
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": args["frames"] // 50,
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    heads = {"alignment_heads": [list(one) for one in args.get("aligned", ())]}
    made: dict[str, Any] = {"preprocessor_config.json": front}
    if args["vocab"] >= ENGLISH_ONLY:
        spoken = Spoken(published(args["vocab"]))
        ends = {"bos_token_id": spoken.eot, "eos_token_id": spoken.eot, "pad_token_id": spoken.eot}
        config |= ends | {"decoder_start_token_id": spoken.sot}
        heads |= ends | _generation(spoken)
        made |= _tokenizer(spoken)
    made |= {"config.json": config, "generation_config.json": heads}
    return {
        name: body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        for name, body in made.items()
    }


def _generation(spoken: Spoken) -> dict[str, Any]:
    many = {
        "lang_to_id": {f"<|{code}|>": i for code, i in spoken.languages.items()},
        "task_to_id": {"transcribe": spoken.transcribe, "translate": spoken.translate},
    }
    return {
        "decoder_start_token_id": spoken.sot,
        "is_multilingual": spoken.many,
        "max_initial_timestamp_index": 50,
        "max_length": 448,
        "no_timestamps_token_id": spoken.no_stamps,
        "prev_sot_token_id": spoken.start_of_prev,
        "return_timestamps": False,
        "suppress_tokens": spoken.forbidden(),
        "begin_suppress_tokens": spoken.blank(),
        **(many if spoken.many else {}),
    }


def _tokenizer(spoken: Spoken) -> dict[str, Any]:
    """vocab.json and merges.txt, and the special tokens behind them."""
    words, apart = spoken.words, spoken.words.specials
    text = {name: i for i, name in enumerate(words.names) if i < spoken.eot}
    added = {
        str(i): {
            "content": name,
            "special": i < spoken.stamp,
            "normalized": False,
            **dict.fromkeys(("lstrip", "rstrip", "single_word"), False),
        }
        for name, i in apart.items()
    }
    end = "<|endoftext|>"
    about = {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "added_tokens_decoder": added,
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
        "errors": "replace",
        "model_max_length": 1024,
    }
    lines = ["#version: 0.2", *words.table.merges, ""]
    return {
        "vocab.json": text | {end: spoken.eot},
        "merges.txt": "\n".join(lines).encode(),
        "tokenizer_config.json": about,
    }
