"""What the Office formats share: elements told by their local names, parts of a package that point at each other.

Local names, because the Strict and the Transitional form of a format differ only in namespaces.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from processing.extractors.archive import DAMAGED, Archive
from processing.extractors.blocks import clean
from ragsite.extraction import ExtractionRefused


def local(element: etree._Element) -> str:
    """The name without its namespace; empty for comments and the like."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def children(element: etree._Element | None, name: str) -> list[etree._Element]:
    return [found for found in element if local(found) == name] if element is not None else []


def child(element: etree._Element | None, *path: str) -> etree._Element | None:
    for name in path:
        element = next(iter(children(element, name)), None)
    return element


def value(element: etree._Element | None, name: str = "val") -> str | None:
    """An attribute by its local name."""
    if element is None:
        return None
    return next((str(found) for key, found in element.attrib.items() if str(key).rpartition("}")[2] == name), None)


def number(element: etree._Element | None, name: str, default: int = 0, most: int = 1_000_000) -> int:
    """An attribute as a number of at least 0."""
    found = value(element, name) or ""
    return min(int(found), most) if found.isascii() and found.isdigit() else default


@dataclass(frozen=True)
class Relation:
    """A part that another one points at; ``kind`` is the last word of its type."""

    kind: str
    target: str


def relations(archive: Archive, part: str) -> dict[str, Relation]:
    """What a part (or, for an empty name, the package) points at, by id; targets are names of parts."""
    folder, name = posixpath.split(part)
    root = archive.xml(posixpath.join(folder, "_rels", f"{name}.rels"))
    return dict(_relations(root, folder)) if root is not None else {}


def _relations(root: etree._Element, folder: str) -> Iterator[tuple[str, Relation]]:
    for element in children(root, "Relationship"):
        target = unquote(value(element, "Target") or "")
        if value(element, "TargetMode") != "External":
            path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            yield value(element, "Id") or "", Relation((value(element, "Type") or "").rpartition("/")[2], path)


def target(parts: dict[str, Relation], reference: etree._Element) -> str:
    """The part that an element names by its ``r:id``; empty if there is none."""
    ids = (found for key, found in reference.attrib.items() if str(key).startswith("{") and str(key).endswith("}id"))
    relation = parts.get(str(next(ids, "")))
    return relation.target if relation else ""


def main_part(archive: Archive) -> str:
    """The path of the document's main part. Raises `broken`."""
    for relation in relations(archive, "").values():
        if relation.kind == "officeDocument":
            return relation.target
    raise ExtractionRefused("broken", DAMAGED)


def properties(archive: Archive) -> tuple[str | None, dict[str, str]]:
    """The document's title and what else it says of itself."""
    root = archive.xml("docProps/core.xml")
    texts = {local(element): clean(element.text or "")[:300] for element in root} if root is not None else {}
    named = {"title": "title", "author": "creator", "subject": "subject"}
    metadata = {key: texts[name] for key, name in named.items() if texts.get(name)}
    return metadata.get("title"), metadata
