"""What `data.optimise.drop_suspect_labels` found: kept for a run after a crash, told in the report."""

from pydantic import BaseModel, ConfigDict

from nasflow.core.spec import OptimiseSection
from nasflow.preprocess.findings import Finding


class Doubts(BaseModel):
    """Of the rows that were looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    looked: int
    """Sampled training and validation rows of classes that have enough of them."""
    rows: int
    """Training and validation rows, without those that other remedies leave out."""
    suspect: int = 0
    """Rows that confident learning finds, dropped or not."""
    said: dict[int, dict[int, tuple[str, str]]] = {}
    """By index of the piece and place in it, of the rows to drop: the column, and what its dead letter says of it."""
    names: tuple[str, ...] = ()
    """Objects that name the rows to leave out; see `nasflow.preprocess.drops`."""

    @property
    def dropped(self) -> int:
        """How many rows are left out."""
        return sum(len(of_piece) for of_piece in self.said.values())


def doubt_findings(doubts: Doubts | None, optimise: OptimiseSection) -> list[Finding]:
    """One where the remedy is on: what it did, and what it did not look at."""
    if doubts is None:
        return []
    text = (
        f"{doubts.dropped:,} rows were left out because their label is probably wrong, of {doubts.suspect:,} suspects "
        f"among {doubts.looked:,} training and validation rows (another class has a probability of at least "
        f"{optimise.suspect_probability:g}, and of no class more than {optimise.suspect_share:.1%}); "
        "dead_letters.jsonl has each one's label and the more likely one."
    )
    if left := doubts.rows - doubts.looked:
        text += f" {left:,} other rows were not looked at, and stay: beyond the sample, or of too rare a class."
    numbers = {"dropped": doubts.dropped, "suspect": doubts.suspect, "looked": doubts.looked, "rows": doubts.rows}
    return [Finding(severity="note", kind="dropped_suspects", text=text, numbers=numbers)]
