"""What a model has cost to make: seconds that were measured, and an estimate of the energy behind them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nasflow.core.artifacts import Document, Model

if TYPE_CHECKING:
    from nasflow.register.card import Block

WATTS_A_CORE = 15.0
"""A busy server core with its share of memory, fans and power supply; order of magnitude."""
GRAMS_CO2_A_KWH = 400.0
"""Between the means of the EU and of the world; that of your grid may be 10 times less or 2 times more."""


def kilowatt_hours(cpu_seconds: float) -> float:
    """From CPU seconds alone.

    >>> kilowatt_hours(240_000)
    1.0
    """
    return cpu_seconds * WATTS_A_CORE / 3.6e6


def cost_of(documents: Mapping[str, Document], model: Model) -> "list[Block]":
    """A table of the steps, then the estimate with what it assumes."""
    from nasflow.register.card import Table

    rows = [(name, f"{made.seconds:,.0f}", f"{made.cpu_seconds:,.0f}") for name, made in documents.items()]
    total = sum(made.cpu_seconds for made in documents.values())
    energy = kilowatt_hours(total)
    text = (
        f"About {energy:.2g} kWh, {energy * GRAMS_CO2_A_KWH:.2g} g CO₂: {total:,.0f} CPU seconds at {WATTS_A_CORE:g} W "
        f"a core and {GRAMS_CO2_A_KWH:g} g a kWh, both assumed. Accelerators are not metered: add theirs. Attempts "
        "that were killed, and failed experiments before this one, are not in it."
    )
    answer = f"One prediction costs {model.flops:,} floating-point operations."
    return [Table(columns=["made", "seconds", "CPU seconds"], rows=rows), text, answer]
