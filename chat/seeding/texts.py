"""Made English: sentences of topics, names of files, questions. No two runs need to agree, only to be alike."""

import random
from itertools import product

TOPICS = {
    "budget": ("budget", "invoice", "payment", "forecast", "surplus", "subsidy"),
    "energy": ("turbine", "transformer", "heat pump", "battery", "grid", "solar panel"),
    "health": ("vaccine", "patient", "clinic", "dosage", "diagnosis", "recovery"),
    "travel": ("railway", "timetable", "airport", "ferry", "passenger", "luggage"),
    "law": ("contract", "clause", "appeal", "licence", "liability", "witness"),
    "farming": ("harvest", "orchard", "irrigation", "fertiliser", "greenhouse", "seedling"),
    "housing": ("tenant", "lease", "insulation", "elevator", "courtyard", "renovation"),
    "research": ("experiment", "sample", "hypothesis", "laboratory", "measurement", "telescope"),
    "sport": ("stadium", "coach", "tournament", "training", "referee", "record"),
    "software": ("server", "release", "password", "backup", "interface", "database"),
    "school": ("teacher", "curriculum", "classroom", "examination", "library", "scholarship"),
    "kitchen": ("recipe", "oven", "ingredient", "menu", "pastry", "spice"),
}
PLACES = ("Oslo", "Porto", "Leipzig", "Lyon", "Kyoto", "Cork", "Turin", "Quito", "Perth", "Minsk", "Tartu", "Bergen")
SENTENCES = (
    "The {noun} in {place} was {verb} by {number} percent after the review of the {other}.",
    "According to the {other} office, every {noun} must be {verb} before the {number}th day of the month.",
    "In {place} the {noun} and the {other} were {verb} together for the first time in {number} years.",
    "Nobody expected that a {noun} could be {verb} within {number} hours without a second {other}.",
    "The committee of {place} noted that the {noun} had {number} faults and that the {other} was {verb} too late.",
    "When the {other} changes, the {noun} is {verb} again and a notice goes to {place} within {number} minutes.",
)
VERBS = ("improved", "replaced", "inspected", "approved", "delayed", "reduced", "documented", "tested", "repaired")
QUESTIONS = (
    "What does the report say about the {noun} in {place}?",
    "When was the {noun} {verb}, and who asked for it?",
    "How does the {noun} depend on the {other}?",
    "Why was the {noun} of {place} {verb} so late?",
    "and the {other}?",
)
SYLLABLES = ("ka", "lo", "mi", "ren", "tar", "vos", "el", "dun", "ska", "bri", "om", "fen", "zul", "per", "nath")
NAMES = ["".join(parts) for parts in product(SYLLABLES, repeat=3)]
"""Rare words: a growing library meets new names."""
SENTENCES_OF_A_TOPIC = 60


def filled(template: str, nouns: tuple[str, ...]) -> str:
    noun, other = random.sample(nouns, 2)
    return template.format(
        noun=noun, other=other, place=random.choice(PLACES), verb=random.choice(VERBS), number=random.randrange(2, 100)
    )


def sentences() -> dict[str, list[str]]:
    """The sentences that all chunks of a topic are made of."""
    return {
        topic: [filled(random.choice(SENTENCES), nouns) for _ in range(SENTENCES_OF_A_TOPIC)]
        for topic, nouns in TOPICS.items()
    }


def reference() -> str:
    """A sentence with a word and a number that hardly any other chunk has."""
    return f"Reference {random.choice(NAMES).title()}{random.randrange(1000)}."


def question(topic: str) -> str:
    return filled(random.choice(QUESTIONS), TOPICS[topic])


def title(topic: str) -> str:
    return f"{random.choice(TOPICS[topic]).title()} of {random.choice(PLACES)} {random.randrange(1990, 2027)}"


def filename(title: str, ending: str) -> str:
    """People separate words as they like."""
    return title.replace(" ", random.choice((" ", "_", "-", "."))) + f" {random.choice(NAMES)}.{ending}"
