"""What a step of a run takes, worked out without making a single number of it where that goes.

The net, its gradients and a micro-batch of the run's own shapes are fake tensors: they have shapes,
types and devices, and no memory. A forward and a backward pass over them calls the operations that
the real one would call, and what those would allocate is added up. Where the shapes themselves
depend on values (texts and regions of mixed lengths laid end to end, tokens drawn to be hidden),
one pass is really made instead, and added up the same way.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.autograd.graph import saved_tensors_hooks
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from sensorium.data.loader import Loaded
from sensorium.train.backward import Scale
from sensorium.train.loop import surroundings
from sensorium.train.parallel import Place
from sensorium.train.rules import AdamW, match
from sensorium.train.run import Run
from sensorium.train.step import Step

BY_VALUE = (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode)
LARGE = 32 << 20  # bytes from which glibc maps a piece of its own


class Cost(NamedTuple):
    """A step of a run: bytes, except where another unit is named.

    `gradients`, `activations` and `temporary` are what is there at the moment when they are most
    together: gradients come as activations go. Activations are what the backward pass needs again,
    temporaries all else. `small` is how much of these three lies in pieces under 32 MiB, which
    glibc takes from its heap; larger ones go back to the system as soon as they are freed.
    """

    parameters: dict[str, int]  # numbers, by part of the net; "all" and "trained"
    flops: int  # of a step on this rank, floating-point operations
    weights: int  # buffers included
    trained: int  # the weights that learn
    moments: int
    average: int
    gradients: int
    activations: int
    temporary: int
    small: int

    @property
    def lasting(self) -> int:
        """What is there all the time."""
        return self.weights + self.moments + self.average


def cost(run: Run, loaded: Mapping[str, Loaded], place: Place) -> Cost:
    """What a step takes whose micro-batches are as large as those of `loaded` (one an ask)."""
    if any(isinstance(ask.objective, nn.Module) for ask in run.asks.values()):
        return _added_up(run, loaded, place, None)  # a teacher, a queue: made already, with values
    try:
        fake = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)
        return _added_up(run, loaded, place, fake)
    except BY_VALUE:  # shapes that depend on values: nobody knows them without the values
        return _added_up(run, loaded, place, None)


def _added_up(
    run: Run, loaded: Mapping[str, Loaded], place: Place, mode: FakeTensorMode | None
) -> Cost:
    """The cost of a step whose tensors are fakes of `mode`, or real ones without it."""
    fake = mode or nullcontext()
    asked = {name: ask.objective for name, ask in run.asks.items()}
    with fake, place.device:
        step = Step(run.net(), asked)
    trained = _trained(run, step)
    if run.slices > 1:
        with fake:
            for p in trained:
                p.grad = torch.zeros_like(p)

    def faked(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return (x if mode is None else mode.from_tensor(x)).to(place.device)

    batches = {name: tree_map(faked, one.batch) for name, one in loaded.items()}
    around = surroundings(run, 0, place)
    held = [*step.parameters(), *step.buffers(), *(p.grad for p in trained), *tree_leaves(batches)]
    live = Allocated([x for x in held if isinstance(x, Tensor)])
    with fake, FlopCounterMode(display=False) as counter, live:
        questions = {
            name: asked[name].pose(step.net, batch, torch.Generator())
            for name, batch in batches.items()
        }
        counts = {name: asked[name].count(questions[name]) for name in questions}
        factors = {name: {k: 1.0 / max(n, 1) for k, n in by.items()} for name, by in counts.items()}
        with live.keeping(), around(0):
            sums = step(questions, True)
        forward = counter.get_total_flops()
        Scale(factors).total(sums).backward()
    flops = counter.get_total_flops()
    again = forward if run.slices > 1 and any(asked[name].coupled for name in asked) else 0
    bytes_of = [p.numel() * p.element_size() for p in trained]
    weights = sum(x.numel() * x.element_size() for x in step.state_dict().values())
    peak = live.at_peak([p.grad for p in trained if p.grad is not None])
    return Cost(
        parameters=_counted(step, trained),
        flops=(flops + again) * run.slices,
        weights=weights,
        trained=sum(bytes_of),
        moments=2 * sum(bytes_of),
        average=weights if run.ema is not None else 0,
        gradients=peak[0] + (sum(bytes_of) if run.slices > 1 else 0),
        activations=peak[1],
        temporary=peak[2],
        small=sum(piece.size for piece in live.snapshot if piece.size < LARGE),
    )


class Piece(NamedTuple):
    """A storage that is alive, the how-manieth it was, and its bytes."""

    storage: weakref.ref
    birth: int
    size: int


class Allocated(TorchDispatchMode):
    """Adds up the bytes of the storages that operations make, each from its birth to its release.

    Args:
        held: tensors that were there before; what shares memory with them is not counted.
    """

    def __init__(self, held: list[Tensor]):
        super().__init__()
        self.held = [x.untyped_storage() for x in held]  # kept alive, so that no id is used again
        self.known = {id(storage) for storage in self.held}
        self.live: dict[int, Piece] = {}
        self.kept: set[int] = set()  # births, for an id is used again
        self.births = self.now = self.most = 0
        self.snapshot: list[Piece] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._note(x.untyped_storage())
        if self.now > self.most:
            self.most, self.snapshot = self.now, list(self.live.values())
        return out

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Storages saved for the backward pass inside are activations."""

        def pack(x: Tensor) -> Tensor:
            piece = self.live.get(id(x.untyped_storage()))
            if piece is not None:
                self.kept.add(piece.birth)
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            yield

    def at_peak(self, gradients: list[Tensor]) -> tuple[int, int, int]:
        """Bytes of gradients, activations and all else at the moment when there were most."""
        ids = [id(g.untyped_storage()) for g in gradients]
        own = {self.live[key].birth for key in ids if key in self.live}
        parts = [0, 0, 0]
        for piece in self.snapshot:
            part = 0 if piece.birth in own else 1 if piece.birth in self.kept else 2
            parts[part] += piece.size
        return parts[0], parts[1], parts[2]

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self.known or key in self.live:
            return
        told = storage.nbytes()
        size = told if isinstance(told, int) else 0  # not known where it depends on values: indices

        def gone(_: Any) -> None:
            del self.live[key]
            self.now -= size

        self.births += 1
        self.live[key] = Piece(weakref.ref(storage, gone), self.births, size)
        self.now += size


def _trained(run: Run, step: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn; the others no longer ask for a gradient."""
    rules = match(run.rules, [name for name, _ in step.named_parameters()])
    for name, p in step.named_parameters():
        p.requires_grad_(isinstance(rules[name], AdamW))
    return [p for p in step.parameters() if p.requires_grad]


def _counted(step: Step, trained: list[nn.Parameter]) -> dict[str, int]:
    """Parameters of the whole, of those that learn, and of each part of the net."""
    parts = {name: sum(p.numel() for p in m.parameters()) for name, m in step.net.named_children()}
    own = sum(p.numel() for p in step.net.parameters(recurse=False))
    beside = sum(p.numel() for p in step.objectives.parameters())
    more = {"itself": own, "objectives": beside}
    return {
        "all": sum(p.numel() for p in step.parameters()),
        "trained": sum(p.numel() for p in trained),
        **parts,
        **{name: n for name, n in more.items() if n},
    }
