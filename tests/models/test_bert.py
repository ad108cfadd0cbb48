"""BERT gives the numbers of transformers' class, texts end to end against texts filled up."""

import torch
from transformers import BertConfig, BertForPreTraining

from sensorium.data.ragged import lay
from sensorium.models.bert import TINY
from sensorium.models.bert_rules import google_bert, hf_bert
from tests.models.drawn import drift, state

LIMIT = 1e-5
SIZE = TINY.args["text"]
CONFIG = BertConfig(
    vocab_size=SIZE.vocab,
    hidden_size=SIZE.width,
    num_hidden_layers=SIZE.layers,
    num_attention_heads=SIZE.heads,
    intermediate_size=SIZE.hidden,
    max_position_embeddings=SIZE.length,
)
TEXTS = [[3, 5, 7, 11], [2], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
KINDS = [[0, 0, 1, 1], [0], [0, 0, 0, 0, 0, 1, 1, 1, 1]]


def original() -> BertForPreTraining:
    net = BertForPreTraining(CONFIG).eval()
    drawn = state({name: t.shape for name, t in net.state_dict().items()})
    drawn["cls.predictions.decoder.weight"] = drawn["bert.embeddings.word_embeddings.weight"]
    drawn["cls.predictions.decoder.bias"] = drawn["cls.predictions.bias"]
    net.load_state_dict(drawn)
    return net


def test_states_and_heads_are_transformers() -> None:
    theirs, ours = original(), TINY.build().eval()
    shapes = {name: t.shape for name, t in ours.state_dict().items()}
    ours.load_state_dict(hf_bert().load(theirs.state_dict(), shapes))
    ids, kinds, mask = (torch.zeros(3, 9, dtype=torch.long) for _ in range(3))
    for row, (text, kind) in enumerate(zip(TEXTS, KINDS, strict=True)):
        n = len(text)
        ids[row, :n], kinds[row, :n], mask[row, :n] = torch.tensor(text), torch.tensor(kind), 1
    with torch.no_grad():
        said = ours(lay(TEXTS, kinds=KINDS))
        states = theirs.bert(ids, attention_mask=mask, token_type_ids=kinds)
        heads = theirs(ids, attention_mask=mask, token_type_ids=kinds)
        words, following = ours.heads["mlm"](said.text.x[0]), ours.heads["nsp"](said.pooled)
    assert drift(states.last_hidden_state[mask.bool()], said.text.x[0]) <= LIMIT
    assert drift(states.pooler_output, said.pooled) <= LIMIT
    assert drift(heads.prediction_logits[mask.bool()], words) <= LIMIT
    assert drift(heads.seq_relationship_logits, following) <= LIMIT


def test_every_layout_goes_out_and_comes_back() -> None:
    net = TINY.build()
    tensors, shapes = net.state_dict(), {n: t.shape for n, t in net.state_dict().items()}
    for keys in (hf_bert(), hf_bert(old=True), google_bert()):
        theirs = keys.save(tensors)
        again = keys.load(theirs, shapes)
        assert all(torch.equal(tensors[name], t) for name, t in again.items())
    kernel = google_bert().save(tensors)["bert/encoder/layer_0/intermediate/dense/kernel"]
    assert torch.equal(kernel.T, tensors["stack.blocks.0.mlp.f.up.weight"])
