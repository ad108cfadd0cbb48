"""Key maps: published names and shapes to ours and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.weights import ops
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import (
    Drop,
    KeyMap,
    Rule,
    drop,
    prefix,
    rename,
    reshape,
    rule,
    split,
    stack,
    transpose,
    unbind,
)

WIDTH, HEADS, EACH = 6, 2, 3


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a
    )


def test_a_map_in_the_style_of_hugging_face():
    """Separate q, k, v become one; a linear projection is our parameter transposed."""
    block = "text.blocks.{i}"
    keys = KeyMap(
        [
            *(
                rename(f"layers.{{i}}.{theirs}.*", f"{block}.{ours}.*")
                for theirs, ours in [("layer_norm1", "attn.norm"), ("mlp.fc1", "mlp.up")]
            ),
            stack(
                tuple(f"layers.{{i}}.self_attn.{part}_proj.*" for part in "qkv"),
                f"{block}.attn.qkv.*",
            ),
            transpose("text_projection.weight", "text.proj"),
            reshape("logit_scale", "log_scale", (), (1,)),
            drop("position_ids", lambda ours: {"position_ids": torch.arange(7)[None]}),
        ]
    )
    theirs = {"text_projection.weight": torch.randn(4, WIDTH), "logit_scale": torch.tensor(2.6)}
    for i in range(2):
        for name in ("layer_norm1", "mlp.fc1"):
            theirs[f"layers.{i}.{name}.weight"] = torch.randn(WIDTH)
        for part in "qkv":
            theirs[f"layers.{i}.self_attn.{part}_proj.weight"] = torch.randn(WIDTH, WIDTH)
            theirs[f"layers.{i}.self_attn.{part}_proj.bias"] = torch.randn(WIDTH)
    expected = {"text.proj": (WIDTH, 4), "log_scale": (1,)}
    for i in range(2):
        expected |= {f"text.blocks.{i}.attn.norm.weight": (WIDTH,)}
        expected |= {f"text.blocks.{i}.mlp.up.weight": (WIDTH,)}
        expected |= {f"text.blocks.{i}.attn.qkv.weight": (3 * WIDTH, WIDTH)}
        expected |= {f"text.blocks.{i}.attn.qkv.bias": (3 * WIDTH,)}

    ours = keys.load(theirs, expected)

    assert shapes(ours) == expected
    _, k, _ = ours["text.blocks.1.attn.qkv.weight"].chunk(3)
    assert torch.equal(k, theirs["layers.1.self_attn.k_proj.weight"])
    assert torch.equal(ours["text.proj"], theirs["text_projection.weight"].T)
    back = keys.save(ours)
    assert torch.equal(back.pop("position_ids"), torch.arange(7)[None])
    assert same(back, theirs)


def test_flax_kernels_are_reshaped_transposed_and_joined_in_one_rule():
    heads = ops.reshape((-1, HEADS, EACH), (-1, HEADS * EACH))
    keys = KeyMap(
        [
            rule(
                tuple(f"block_{{i}}/{part}/kernel" for part in ("query", "key", "value")),
                "blocks.{i}.qkv.weight",
                heads,
                ops.permute(1, 0),
                ops.concat(3),
            ),
            transpose("embedding/kernel", "patch.weight", (3, 2, 0, 1)),
        ]
    )
    theirs = {
        f"block_0/{p}/kernel": torch.randn(WIDTH, HEADS, EACH) for p in ("query", "key", "value")
    }
    theirs["embedding/kernel"] = torch.randn(4, 5, 3, WIDTH)  # rows, columns, in, out
    expected = {"blocks.0.qkv.weight": (18, WIDTH), "patch.weight": (WIDTH, 3, 4, 5)}
    ours = keys.load(theirs, expected)
    x = torch.randn(WIDTH)
    by_flax = torch.einsum("d,dhe->he", x, theirs["block_0/key/kernel"])
    assert torch.allclose((ours["blocks.0.qkv.weight"] @ x)[6:12], by_flax.flatten(), atol=1e-5)
    assert same(keys.save(ours), theirs)


def test_layers_stacked_in_one_array_come_apart():
    keys = KeyMap([unbind("blocks/Dense_0/kernel", "blocks.{i}.up.weight", 3, ops.permute(1, 0))])
    theirs = {"blocks/Dense_0/kernel": torch.randn(3, 4, 5)}
    ours = keys.load(theirs, {f"blocks.{i}.up.weight": (5, 4) for i in range(3)})
    assert torch.equal(ours["blocks.2.up.weight"], theirs["blocks/Dense_0/kernel"][2].T)
    assert same(keys.save(ours), theirs)


def test_split_with_unequal_sizes():
    keys = KeyMap([split("qkv", ("q", "k", "v"), sizes=(4, 2, 2))])
    theirs = {"qkv": torch.randn(8, 3)}
    ours = keys.load(theirs, {"q": (4, 3), "k": (2, 3), "v": (2, 3)})
    assert torch.equal(ours["k"], theirs["qkv"][4:6])
    assert same(keys.save(ours), theirs)


def test_a_towers_rules_serve_under_a_prefix():
    tower = [
        rename("ln.*", "norm.*"),
        drop("size", lambda ours: {"size": torch.tensor(len(ours["norm.weight"]))}),
    ]
    keys = KeyMap([*prefix(tower, "visual.", "image."), *prefix(tower, "", "text.")])
    theirs = {
        "visual.ln.weight": torch.ones(3),
        "visual.size": torch.tensor(3),
        "ln.weight": torch.zeros(5),
        "size": torch.tensor(5),
    }
    ours = keys.load(theirs, {"image.norm.weight": (3,), "text.norm.weight": (5,)})
    assert same(keys.save(ours), theirs)


def test_one_report_names_everything_that_does_not_fit():
    keys = KeyMap([rename("a.{i}.*", "b.{i}.*"), stack(("q", "k"), "qk"), split("u", ("u1", "u2"))])
    theirs = {
        "a.0.weight": torch.zeros(2),
        "a.7.weight": torch.zeros(2),
        "q": torch.zeros(1),
        "u": torch.zeros(3),
        **{f"head.{i}": torch.zeros(1) for i in range(9)},
    }
    with pytest.raises(WeightsError) as error:
        keys.load(theirs, {"b.0.weight": (3,), "b.1.weight": (2,)}, "file.pt")
    text = str(error.value)
    assert text.startswith("file.pt:")
    assert "9 without a rule: head.0, head.1, head.2, head.3, head.4 and 4 more" in text
    assert "missing: k (belongs with q)" in text
    assert "b.1.weight (theirs: a.1.weight)" in text
    assert "1 not in this model: b.7.weight (theirs: a.7.weight)" in text
    assert "b.0.weight (2,) in the file, (3,) in the model" in text
    assert "u axis 0 is 3 long and cannot be cut into 2 equal parts" in text


def test_our_keys_need_rules_too():
    with pytest.raises(WeightsError, match="1 without a rule: extra"):
        KeyMap([rename("a", "b")]).save({"b": torch.zeros(1), "extra": torch.zeros(1)})


def test_a_key_may_not_have_two_rules():
    with pytest.raises(WeightsError, match="two rules speak of theirs"):
        KeyMap([rename("a.{i}", "b.{i}"), rename("a.{j}", "c.{j}")])
    overlapping = KeyMap([rename("a.{i}", "b.{i}"), rename("a.*", "c.*")])
    with pytest.raises(WeightsError, match=r"1 in two rules: a\.1"):
        overlapping.load({"a.1": torch.zeros(1)}, {})
    with pytest.raises(WeightsError, match="1 in two rules: a"):
        KeyMap([rename("a", "b"), drop("*")]).load({"a": torch.zeros(1)}, {"b": (1,)})


def test_dropped_keys_are_proved_to_carry_nothing():
    keys = KeyMap([rename("w", "w"), drop("bias", lambda ours: {"bias": torch.zeros(2)})])
    w = torch.ones(2)
    assert same(keys.load({"w": w, "bias": torch.zeros(2)}, {"w": (2,)}), {"w": w})
    assert same(keys.load({"w": w}, {"w": (2,)}), {"w": w})
    with pytest.raises(WeightsError, match="of another value than expected: bias"):
        keys.load({"w": w, "bias": torch.ones(2)}, {"w": (2,)})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rename("a.{i}", "b"), "same wildcards"),
        (lambda: rename("a.*", "b.**"), "same wildcards"),
        (lambda: rename("a.*.*", "b.*.*"), r"at most one \*"),
        (lambda: rename("a.{I}", "b.{I}"), "lower-case name in braces"),
        (lambda: rule(("a", "b"), "c", ops.chunk(2)), "takes 1 tensors, 2 arrive"),
        (lambda: rule("a", ("b", "c")), "1 tensors come out for 2 keys"),
        (lambda: transpose("a", "b", (0, 2)), "each once"),
        (lambda: reshape("a", "b", (-1, -1), (4,)), "at most one axis"),
        (lambda: unbind("a", "b", 2), "where the layer goes"),
        (lambda: stack(("a", "b"), "c", sizes=(1,)), "one size a part"),
    ],
)
def test_a_rule_that_could_not_be_undone_is_refused_when_written(make, text):
    with pytest.raises(WeightsError, match=text):
        make()


def test_which_layouts_a_file_may_have():
    layouts = {
        "a": KeyMap([rename("x.*", "w.*"), drop("size")]),
        "b": KeyMap([rename("y.*", "w.*")]),
    }
    assert [name for name, keys in layouts.items() if keys.reads(["x.weight", "size"])] == ["a"]
    assert not any(keys.reads(["x.weight", "y.weight"]) for keys in layouts.values())


def test_stars_and_numbers():
    keys = KeyMap([rename("a{i}_{j}/{i}.**", "x.{j}.{i}.**")])
    ours = keys.load({"a1_22/1.p.q/r": torch.zeros(1)}, {"x.22.1.p.q/r": (1,)})
    assert list(keys.save(ours)) == ["a1_22/1.p.q/r"]
    for wrong in ("a1_22/2.p", "a1_/1.p", "ax_2/x.p", "a1_22/1."):
        with pytest.raises(WeightsError, match="without a rule"):
            keys.load({wrong: torch.zeros(1)}, {})
    with pytest.raises(WeightsError, match="without a rule"):
        KeyMap([rename("a.*", "b.*")]).load({"a.b.c": torch.zeros(1)}, {})


# --- import then export is the identity, whatever the rules ---------------------------------------

SIZES = st.integers(1, 4)
KINDS = st.integers(0, 6)
PLANS = st.lists(
    st.tuples(KINDS, SIZES, SIZES, SIZES, SIZES, st.booleans(), st.permutations(range(3))),
    min_size=1,
    max_size=8,
)
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64])


def build(plan: list, dtype: torch.dtype) -> tuple[list[Rule | Drop], dict[str, Tensor]]:
    """The rules of a plan, and a state that they can read."""
    rules: list[Rule | Drop] = []
    theirs: dict[str, Tensor] = {}
    g = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> Tensor:
        return torch.randint(-99, 99, shape, generator=g).to(dtype)

    for n, (kind, a, b, c, layers, flag, dims) in enumerate(plan):
        left, right = f"t{n}.{{i}}.*", f"o.*.n{n}.{{i}}"
        made = [f"t{n}.{i}.{leaf}" for i in range(layers) for leaf in ("weight", "bias")]
        if kind == 0:
            rules.append(rename(left, right))
            theirs |= {key: tensor(a, b) for key in made}
        elif kind == 1:
            rules.append(split(left, tuple(f"{right}.{part}" for part in "abc"), int(flag)))
            theirs |= {key: tensor(*((b, 3 * a) if flag else (3 * a, b))) for key in made}
        elif kind == 2:
            sizes = (a, b) if flag else None
            rules.append(stack(tuple(f"{left}.{part}" for part in "ab"), right, 0, sizes))
            theirs |= {f"{key}.a": tensor(a, c) for key in made}
            theirs |= {f"{key}.b": tensor(b if flag else a, c) for key in made}
        elif kind == 3:
            rules.append(transpose(left, right, tuple(dims)))
            theirs |= {key: tensor(a, b, c) for key in made}
        elif kind == 4:
            rules.append(reshape(left, right, (-1, b, c), (-1, b * c)))
            theirs |= {key: tensor(a, b, c) for key in made}
        elif kind == 5:
            names = tuple(f"t{n}/{part}" for part in "qkv")
            many = tuple(f"o{n}.{i}" for i in range(layers))
            steps = (ops.reshape((layers, a, b, c), (layers, a, b * c)), ops.permute(0, 2, 1))
            rules.append(rule(names, many, *steps, ops.concat(3, 1), ops.unbind(layers)))
            theirs |= {name: tensor(layers, a, b, c) for name in names}
        else:
            key, kept = f"d{n}", tensor(a)
            rules.append(drop(key, lambda ours, key=key, kept=kept: {key: kept}))
            theirs[key] = kept
    return rules, theirs


@settings(max_examples=60, deadline=None)
@given(PLANS, DTYPES, st.booleans())
def test_import_then_export_is_the_identity(plan, dtype, backwards):
    rules, theirs = build(plan, dtype)
    keys = KeyMap(rules[::-1] if backwards else rules)
    expected = shapes(everything(keys, theirs))
    ours = keys.load(theirs, expected)
    assert same(keys.save(ours), theirs)
    assert same(keys.load(keys.save(ours), expected), ours)
    assert all(tensor.is_contiguous() for tensor in ours.values())


def everything(keys: KeyMap, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a map makes of a state, whatever a model would expect."""
    found: dict[str, list[str]] = {}
    kept = {key: tensor for key, tensor in theirs.items() if not key.startswith("d")}
    ours = keys._convert(kept, "theirs", found)
    assert not found
    return ours
