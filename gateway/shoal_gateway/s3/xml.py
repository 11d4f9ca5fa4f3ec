"""XML in and out of the S3 face: a reader that cannot be made to explode, a writer that escapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from shoal_gateway.s3.errors import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DOCUMENT_BYTES_MAX = 4 << 20
"""A completion of 10,000 parts with checksums has 2 MB."""
DEPTH_MAX = 16
ELEMENTS_MAX = 100_000
CONTROL_CHARACTERS = {chr(code): f"&#x{code:X};" for code in range(1, 32)}
"""XML 1.0 has no place for most of them, object names do; AWS writes them like this as well."""
SPECIAL_CHARACTERS = ("&", "<", ">", *CONTROL_CHARACTERS)
SPECIAL = re.compile(f"[{''.join(SPECIAL_CHARACTERS)}]")


@dataclass(slots=True)
class Element:
    """A parsed element. `name` without its namespace."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        return [child for child in self.children if child.name == name]

    def value(self, name: str) -> str | None:
        """The text of the one child of this name without white space around it; None when there is none."""
        text = self.exact(name)
        return None if text is None else text.strip()

    def exact(self, name: str) -> str | None:
        """As `value`, white space included: it belongs to an object's name."""
        found = self.all(name)
        if len(found) > 1:
            raise malformed(f"<{name}> is given more than once")
        return found[0].text if found else None


def parse(document: bytes, root_name: str) -> Element:
    """Raises S3Error MalformedXML for anything but a small, plain document with this root."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    top = Element("")
    open_elements = [top]
    elements = 0

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if len(open_elements) > DEPTH_MAX or elements > ELEMENTS_MAX:
            raise malformed("too deep or too many elements")
        element = Element(name.rpartition(" ")[2])
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        open_elements[-1].text += data

    def refuse(*_: object) -> None:
        raise malformed("document types and entities are not allowed")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # The latter two for encodings that Python has not, or expat cannot use.
        raise malformed(str(error)) from error
    if top.children[0].name != root_name:
        raise malformed(f"expected <{root_name}>")
    return top.children[0]


def malformed(why: str) -> S3Error:
    return S3Error("MalformedXML", f"The XML you provided was not well-formed or did not validate: {why}.")


def element(name: str, *content: str) -> str:
    """`content` is XML already; see `leaf` for text."""
    return f"<{name}>{''.join(content)}</{name}>"


def leaf(name: str, value: object) -> str:
    return f"<{name}>{escaped(str(value))}</{name}>"


def escaped(text: str) -> str:
    """Most texts need none of it."""
    return escape(text, CONTROL_CHARACTERS) if SPECIAL.search(text) else text


def escaped_all(texts: Sequence[str]) -> Sequence[str]:
    """Looks at them as one text, and for one character after the other, which is four times as fast as the pattern."""
    if any(map("".join(texts).__contains__, SPECIAL_CHARACTERS)):
        return [escaped(text) for text in texts]
    return texts


def leaves(pairs: Iterable[tuple[str, object]]) -> str:
    return "".join(leaf(name, value) for name, value in pairs)


def document(root: str, *content: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">'
    return f"{head}{''.join(content)}</{root}>".encode()
