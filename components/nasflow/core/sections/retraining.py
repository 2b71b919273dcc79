"""`retrain`: when another model is trained on new data."""

from typing import Annotated, Literal

from pydantic import Field

from nasflow.core.sections._base import Section


class RetrainSection(Section):
    """When `nasflow retrain` trains another model, and how. It is used by that pipeline alone."""

    when: Literal["drift", "always"] = "drift"
    """`drift`: only if a column or the label has drifted since the champion's data, or there are enough more (or fewer)
    rows. `always`: whenever the data are not the same."""
    min_growth: Annotated[float, Field(ge=0)] = 0.2
    """More, or fewer, training rows by this share are reason enough."""
    search_above: Annotated[float, Field(ge=0)] = 0.25
    """From this population stability index of a column on a short search replaces the retraining of the champion's
    architecture; it starts there."""
    trials: Annotated[int, Field(ge=1)] = 8
    """Trials of the short search."""
