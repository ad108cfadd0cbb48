"""Whisper beside transformers' own, with random weights: spectrogram, encoder, logits, heads."""

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from sensorium.data.ragged import lay
from sensorium.models.whisper import Size, whisper
from sensorium.models.whisper_rules import HF_MAP, OPENAI_MAP
from sensorium.nn.mel import filters, log_mel
from tests.models.drawn import state

VOCAB, FRAMES = 60, 50


def theirs() -> WhisperForConditionalGeneration:
    config = WhisperConfig(
        vocab_size=VOCAB,
        num_mel_bins=80,
        d_model=64,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        max_source_positions=FRAMES,
        max_target_positions=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        attn_implementation="eager",
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.load_state_dict(state({k: v.shape for k, v in model.state_dict().items()}), strict=False)
    model.tie_weights()
    return model


def ours(model: WhisperForConditionalGeneration):
    net = whisper(Size(64, 2, 4), 3, 80, VOCAB, FRAMES, 24).eval()
    wanted = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    net.load_state_dict(HF_MAP.load(model.state_dict(), wanted))
    return net


def test_the_encoder_the_logits_and_every_heads_attention_are_those_of_transformers() -> None:
    model = theirs()
    net = ours(model)
    g = torch.Generator().manual_seed(0)
    mel = torch.randn(2, 80, 2 * FRAMES, generator=g)
    ids = torch.randint(3, VOCAB, (2, 9), generator=g)
    with torch.inference_mode():
        want = model(input_features=mel, decoder_input_ids=ids, output_attentions=True)
        memory = net.encode(mel)
        assert (memory - want.encoder_last_hidden_state).abs().max() < 1e-5
        logits = net(mel, lay(ids.tolist())).view(2, 9, -1)
        assert (logits - want.logits).abs().max() < 1e-5
        every = [(layer, head) for layer in range(2) for head in range(4)]
        for row in range(2):
            _, seen = net.looks(memory[row : row + 1], lay([ids[row].tolist()]), every)
            shares = torch.stack([a[row] for a in want.cross_attentions]).flatten(0, 1)
            assert (seen.softmax(-1) - shares).abs().max() < 1e-5


def test_reading_piece_by_piece_gives_the_same_logits() -> None:
    net = ours(theirs())
    g = torch.Generator().manual_seed(1)
    mel = torch.randn(2, 80, 2 * FRAMES, generator=g)
    texts = [[5, 6, 7, 8], [9, 10]]
    with torch.inference_mode():
        memory = net.encode(mel)
        whole = net(mel, lay(texts))
        cache = net.listen(memory, room=24)
        first = net.extend(lay([texts[0][:3], texts[1][:1]]), cache)
        then = net.extend(lay([texts[0][3:], texts[1][1:]]), cache)
    assert (first - whole[[2, 4]]).abs().max() < 1e-5
    assert (then - whole[[3, 5]]).abs().max() < 1e-5


@pytest.mark.parametrize("mels", [80, 128])
def test_the_spectrogram_is_that_of_transformers(mels: int) -> None:
    reader = WhisperFeatureExtractor(feature_size=mels)
    assert np.abs(filters(mels).numpy() - reader.mel_filters.T).max() < 1e-7
    g = torch.Generator().manual_seed(2)
    sound = torch.randn(50_000, generator=g) * torch.linspace(0, 0.5, 50_000)
    want = reader(sound.numpy(), sampling_rate=16000, return_tensors="pt").input_features[0]
    assert (log_mel(sound, mels, 480_000 - 50_000) - want).abs().max() < 2e-5


def test_the_key_maps_go_there_and_back() -> None:
    net = ours(theirs())
    own = net.state_dict()
    for keys in (HF_MAP, OPENAI_MAP):
        saved = keys.save(own)
        back = keys.load(saved, {k: tuple(v.shape) for k, v in own.items()})
        assert all(torch.equal(back[k], own[k]) for k in own)
