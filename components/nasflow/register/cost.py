"""What a model has cost to make: seconds that were measured, and an estimate of the energy behind them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nasflow.core.artifacts import Document, Model

if TYPE_CHECKING:
    from nasflow.register.card import Block

WATTS_A_CORE = 12.0
"""A busy core: what Green Algorithms takes where the processor is not known (`TDP_cpu.csv`, "Any")."""
PUE = 1.67
"""Power usage effectiveness, cooling and the like: Green Algorithms' mean of data centres; large ones are at 1.1."""
GRAMS_CO2_A_KWH = 475.0
"""The world's mean (IEA, Global Energy & CO2 Status Report 2019). Grids range from about 12 to 880."""
FORMULA = "energy = CPU seconds × watts a core × PUE / 3,600,000; CO₂ = energy × grams a kWh"
SOURCE = (
    "Lannelongue, Grealey, Inouye: Green Algorithms: Quantifying the Carbon Footprint of Computation (Advanced Science "
    "2021, doi:10.1002/advs.202100707), without its term for memory"
)


def kilowatt_hours(cpu_seconds: float) -> float:
    """From CPU seconds: runtime × cores × their usage, as the formula of Green Algorithms has it.

    Not metered, and left out: memory (that formula adds 0.37 W a GB that was reserved), accelerators, disks.

    >>> kilowatt_hours(3_600)  # one core, one hour: 12 Wh, and what cools it
    0.02004
    """
    return cpu_seconds * WATTS_A_CORE * PUE / 3.6e6


def cost_of(documents: Mapping[str, Document], model: Model) -> "list[Block]":
    """A table of the steps, then the estimate with what it assumes."""
    from nasflow.register.card import Table

    rows = [(name, f"{made.seconds:,.0f}", f"{made.cpu_seconds:,.0f}") for name, made in documents.items()]
    total = sum(made.cpu_seconds for made in documents.values())
    energy = kilowatt_hours(total)
    text = (
        f"About {energy:.2g} kWh and {energy * GRAMS_CO2_A_KWH:.2g} g CO₂, an estimate, not a measurement: "
        f"{total:,.0f} CPU seconds (measured) at {WATTS_A_CORE:g} W a core, PUE {PUE:g} and {GRAMS_CO2_A_KWH:g} g "
        f"a kWh (assumed, means of the world). {FORMULA}. Source: {SOURCE}. Memory and accelerators "
        "are not metered: add theirs. Attempts that were killed, and failed experiments before this one, are not in it."
    )
    answer = f"One prediction costs {model.flops:,} floating-point operations."
    return [Table(columns=["made", "seconds", "CPU seconds"], rows=rows), text, answer]
