"""What a run came to, as a table for people."""

from collections import Counter
from collections.abc import Sequence

from tests.scale.faults import Fault
from tests.scale.visitors import Visitor

HEAD = ("killed", "well again", "requests", "failed", "of these sent later", "the last one", "longest wait")


def table(faults: Sequence[Fault]) -> str:
    """Seconds after the kill. A visitor's longest wait has all tries in it until it had what it wanted."""
    rows = [HEAD, *(_row(fault) for fault in faults)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    aligned = [
        "  ".join(
            f"{cell:<{w}}" if n == 0 else f"{cell:>{w}}" for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(aligned)


def _row(fault: Fault) -> tuple[str, ...]:
    recovered = "never" if fault.recovered is None else f"{fault.recovered:.1f} s"
    last = f"{fault.failed_until:.1f} s" if fault.failed else "–"
    counts = (str(fault.tries), str(fault.failed), str(fault.failed_later))
    return fault.part, recovered, *counts, last, f"{fault.longest_wait:.1f} s"


def totals(visitors: Sequence[Visitor], lost: Sequence[str]) -> str:
    documents = sum(len(visitor.ledger.documents) for visitor in visitors)
    conversations = sum(len(visitor.conversations) for visitor in visitors)
    done = sum(len(visitor.done) for visitor in visitors)
    interrupted = sum(len(visitor.interrupted) + visitor.told_of_interruption for visitor in visitors)
    resumed = sum(visitor.resumed for visitor in visitors)
    return (
        f"accepted: {documents} documents, {conversations} conversations, {done} answers said to be done\n"
        f"lost: {sum(entry.startswith('lost') for entry in lost)}\n"
        f"streams resumed on another connection: {resumed}; answers whose reader was told that they are interrupted, "
        f"with what was written kept: {interrupted}"
    )


def kinds(faults: Sequence[Fault]) -> str:
    return "\n".join(f"  {fault.part}: {', '.join(fault.what_failed)}" for fault in faults if fault.what_failed)


def wrong(found: Sequence[str]) -> str:
    return "\n".join(f"  {number} × {what}" if number > 1 else f"  {what}" for what, number in Counter(found).items())
