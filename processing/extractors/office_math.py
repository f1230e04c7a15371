"""Office's equations as a line of text that can be read and searched: ``(a + b)/(2)``, ``x^(2)``, ``√(y)``."""

from lxml import etree


def as_text(element: etree._Element) -> str:
    """An ``m:oMath`` (or anything inside of one) written on one line."""
    name = etree.QName(element).localname if isinstance(element.tag, str) else ""
    if name == "t":
        return element.text or ""
    if name.endswith("Pr"):
        return ""
    if name == "f":
        return f"{_part(element, 'num')}/{_part(element, 'den')}"
    if name == "rad":
        return f"{_plain(element, 'deg')}√{_part(element, 'e')}"
    if name in ("sSup", "sSub", "sSubSup"):
        return _plain(element, "e") + _marked(element, "sub", "_") + _marked(element, "sup", "^")
    if name == "nary":
        sign = _attribute(element, "chr") or "∫"
        return f"{sign}{_marked(element, 'sub', '_')}{_marked(element, 'sup', '^')} {_plain(element, 'e')}"
    if name == "d":
        begin, end = _attribute(element, "begChr") or "(", _attribute(element, "endChr") or ")"
        return begin + ", ".join(as_text(child) for child in element.iterchildren("{*}e")) + end
    return "".join(map(as_text, element))


def _plain(element: etree._Element, name: str) -> str:
    return "".join(as_text(child) for child in element.iterchildren("{*}" + name))


def _part(element: etree._Element, name: str) -> str:
    return f"({_plain(element, name)})"


def _marked(element: etree._Element, name: str, mark: str) -> str:
    text = _plain(element, name)
    return f"{mark}({text})" if text else ""


def _attribute(element: etree._Element, name: str) -> str | None:
    """A property's value, like the sign of a sum."""
    path = f"{{*}}{etree.QName(element).localname}Pr/{{*}}{name}"
    for found in element.iterfind(path):
        return next((str(value) for value in found.attrib.values()), None)
    return None
