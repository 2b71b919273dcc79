"""A space as one network: every operation of every edge at once, weighted by softmaxes that can be learned.

Liu et al. 2019, "DARTS", §2.2. The weights of the operations are shared by all architectures of the space, those of the
softmaxes by all cells of the stack. The network is written with the operations of an architecture
(`nasflow.spaces.operations`) and three more, which exist only here:

    mixed    choice arms skip auxiliary scale    inputs of one shape → that shape: their weighted sum
    part     of                                  (h, w, c) → (h, w, c / of): the first channels
    rejoin   of stride                           (h', w', c / of), (h, w, c) → (h', w', c): the first input and, behind
                                                 it, the other channels of the second (their maximum over 2 × 2 places
                                                 at stride 2); then shuffled, so that the next part has others

`choice` names the softmax, `arms` the place of each input in it (an arm without an input is "no operation": zeros);
`skip` is the place among the inputs of a skip connection that dropout may be applied to, or None; with `auxiliary` the
last input has no arm: it is what the edge begins with, for DARTS- (`Bilevel.auxiliary`); the sum is multiplied by
`scale`. With softmaxes that have a 1 each, the network is the architecture that these arms mean: a test holds both to
be equal. (Not so with partial channels, where most of an edge passes its operations by.)
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from nasflow.spaces.architecture import Architecture

MIXED = "mixed"
"""Name of the operation."""
PART, REJOIN = "part", "rejoin"
"""Names of the two that partial channels need."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One of the things that a part of the architecture can be."""

    values: Mapping[str, Any]
    """Of the space's parameters."""
    arms: tuple[tuple[str, int], ...]
    """(softmax, arm): its probability is the product of theirs."""
    skips: int = 0
    """Skip connections in it, of those that collapse is measured by."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """What a space that can be searched by gradients returns from `Space.relaxed`."""

    network: Architecture
    """With `MIXED` nodes; its recipe is what the weights are trained by."""
    choices: Mapping[str, tuple[str, ...]]
    """The softmaxes by name, each with the names of its arms. One that no part names only weighs."""
    parts: tuple[tuple[Option, ...], ...]
    """One option of each makes an architecture; their values have no parameter in common. What they do not say (depth,
    width, recipe) is not learned."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bilevel:
    """How the relaxed network is trained: the weights on one half of the training rows, the softmaxes on the other."""

    epochs: int = 30
    """At most, each over one half of the rows."""
    warm_up: float = 0.3
    """Share of the training in which only the weights learn, so that operations without weights get no head start."""
    reach: float = 6.0
    """How far a logit can move in the whole training: Adam moves it by the learning rate a step at most, so the rate is
    this divided by the steps."""
    decay: float = 1e-3
    """L2 penalty of the logits."""
    auxiliary: float = 1.0
    """Weight of an auxiliary skip connection beside each edge at the start; falls linearly to 0."""
    skip_dropout: float = 0.0
    """Dropout of the skip connections' output at the start; falls linearly to 0."""
    unroll: float = 0.0
    """ξ, the rate of the weights' step that the softmaxes look ahead by (Liu et al. 2019, equations 6 to 8); falls with
    the schedule of the weights. 0: first order."""
