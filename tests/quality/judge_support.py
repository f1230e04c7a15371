"""How well the check of a model's claims (chat/engines/support.py) tells right ones from wrong ones.

    python manage.py ingest ../shared/data/squad && python manage.py ingest ../shared/data/jaquad
    python tests/quality/judge_support.py ../shared/data/squad ../shared/data/jaquad

A claim is a question without its question words, with its answer behind: about what a model says that answers. Right
claims point at the passage that holds the answer. Wrong ones have another question's answer about the same document, or
point at a passage of another document. The first half of the documents by name and the second are told apart, so that a
threshold may be chosen on one and read on the other.
"""

import argparse
import json
import os
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OF_EACH_HALF = 100
_ASKING = re.compile(
    r"^(?:(?:in|on|at|by|from|to|of|for|with) )?(?:what|which|who|whom|whose|when|where|why|how(?: many| much)?)\b\s*"
    r"(?:(?:was|is|are|were|did|does|do)\b\s*)?|[?？]|(?:は)?(?:いつ|どこ|だれ|誰|何|なに|どれ)[^、]*$",
    re.IGNORECASE,
)
Entry = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    import django

    django.setup()
    print(f"{'supported':22}{'claims':>8}{'right':>8}{'other answer':>14}{'other passage':>15}")
    for folder in given.folders:
        for half, shares in judged(folder, given.owner).items():
            print(f"{folder.name + ', ' + half:22}{OF_EACH_HALF:8}{shares[0]:8.2f}{shares[1]:14.2f}{shares[2]:15.2f}")


def judged(folder: Path, owner: str | None) -> dict[str, tuple[float, ...]]:
    """By half: which share of the right claims is supported, of those with a wrong answer, with a wrong passage."""
    from chat.engines.reading import ReadPassage
    from chat.engines.support import supports
    from documents.evaluation import documents_of
    from ragsite.accounts.owners import command_owner

    entries = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    entries = [entry for entry in entries if entry["answerable"]]
    owner_id = command_owner(owner).pk
    ids = documents_of(folder, owner_id, {entry["document"] for entry in entries})
    found = {}
    for half, documents in (("first half", sorted(ids)[::2]), ("second half", sorted(ids)[1::2])):
        mine = [entry for entry in entries if entry["document"] in documents]
        verdicts = defaultdict(list)
        for way, claim, place in claims_of(mine):
            verdicts[way].append(supports([ReadPassage(passage_of(owner_id, ids[place["document"]], place))], claim))
        found[half] = tuple(sum(verdicts[way]) / len(verdicts[way]) for way in ("right", "answer", "passage"))
    return found


def claims_of(entries: list[Entry]) -> Iterator[tuple[str, str, Entry]]:
    """The claim in three ways, with the question whose passage it points at."""
    chance = random.Random(8)
    for entry in chance.sample(entries, OF_EACH_HALF):
        others = [other for other in entries if text_of(other).lower() != text_of(entry).lower()]
        same = [other for other in others if other["document"] == entry["document"]]
        elsewhere = [other for other in others if other["document"] != entry["document"]]
        yield "right", claim_of(entry, text_of(entry)), entry
        yield "answer", claim_of(entry, text_of(chance.choice(same))), entry
        yield "passage", claim_of(entry, text_of(entry)), chance.choice(elsewhere)


def text_of(entry: Entry) -> str:
    text: str = entry["answers"][0]["text"]
    return text


def claim_of(entry: Entry, answer: str) -> str:
    return f"{_ASKING.sub('', entry['question']).strip()} {answer}."


def passage_of(owner_id: int, document: Any, entry: Entry) -> Any:
    """The chunk that holds the answer's beginning, as a passage."""
    from chat.answers.passages import Passage
    from documents.models import Chunk
    from documents.search import Hit

    start = entry["answers"][0]["start"]
    chunk = Chunk.objects.get(owner_id=owner_id, document_id=document, start__lte=start, end__gt=start)
    place = {"page": None, "position": chunk.position, "start": chunk.start, "end": chunk.end, "kind": chunk.kind}
    words = {"text": chunk.text, "headings": tuple(chunk.headings), "title": chunk.title, "language": chunk.language}
    return Passage(1, Hit(document, "", **place, **words, score=0.0, words=0.0, meaning=0.0))


if __name__ == "__main__":
    main()
