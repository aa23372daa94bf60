"""YAML, JSON and XML files as sources of settings: libraries parse them, this module knows what a tree means.

A file has a mapping, or an element, named ``uwsgi`` or as the section that is asked for. Every name in it has a value,
or a list of values, which are taken as the file spells them: ``0660`` is no number, and ``yes`` is ``yes``.

Source: uWSGI's core/yaml.c, core/json.c and core/xmlconf.c.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from uwsgi_ws.options.setting import Findings, Note, Setting

__all__ = ["parse_json", "parse_xml", "parse_yaml"]


def parse_yaml(text: str, file: str, section: str, findings: Findings) -> list[Setting] | None:
    """Return the settings of one mapping of a YAML file; None when it has no such mapping.

    Raises:
        ValueError: It is not YAML, or the parser is not installed; the message says so.
    """
    try:
        import yaml
    except ImportError:
        raise ValueError("a YAML file needs the package PyYAML: pip install 'uwsgi_ws[yaml]'") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"not YAML: {getattr(exc, 'problem', None) or exc}{where}") from None
    settings: list[Setting] | None = None
    for key, node in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value != section:
            continue
        settings = [] if settings is None else settings
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                source = f"{file}:{each.start_mark.line + 1}"
                if isinstance(each, yaml.ScalarNode):
                    settings.append(Setting(str(name.value), each.value, source))
                else:
                    findings.notes.append(_nested(str(name.value), source))
    return settings


def parse_json(text: str, file: str, section: str, findings: Findings) -> list[Setting] | None:
    """Return the settings of one object of a JSON file; None when it has no such object.

    Raises:
        ValueError: It is not JSON; the message says so.
    """
    try:
        # Pairs, because a name may come several times; numbers stay as they are spelt.
        root = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg}, line {exc.lineno}") from None
    line_of = _lines(text)
    settings: list[Setting] | None = None
    for key, members in root if isinstance(root, _Pairs) else ():
        line_of(key)
        if key != section or not isinstance(members, _Pairs):
            continue
        settings = [] if settings is None else settings
        for name, value in members:
            source = f"{file}:{line_of(name)}"
            for each in value if isinstance(value, list) and not isinstance(value, _Pairs) else [value]:
                if isinstance(each, list):
                    findings.notes.append(_nested(name, source))
                else:
                    settings.append(Setting(name, each if isinstance(each, str) else "1" if each else "0", source))
    return settings


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, including several of one name."""


def _lines(text: str) -> Callable[[str], int]:
    """Return a function that finds the lines of names, asked in their order: the parser does not tell them."""
    position = 0

    def line_of(name: str) -> int:
        nonlocal position
        spelt = "|".join({re.escape(json.dumps(name)), re.escape(json.dumps(name, ensure_ascii=False))})
        if found := re.compile(rf"(?:{spelt})\s*:").search(text, position):
            position = found.end()
        return text.count("\n", 0, position) + 1

    return line_of


def parse_xml(text: str, file: str, section: str, findings: Findings) -> list[Setting] | None:
    """Return the settings of an XML file's element ``uwsgi``; None when it has none.

    Args:
        text: Of the whole file.
        file: Its name, for errors.
        section: The ``id`` of the element, or of the settings in it, that counts; those without one count always.
        findings: Gets what there is to say.

    Raises:
        ValueError: It is not XML, or the parser is not installed; the message says so.
    """
    try:
        from defusedxml import DefusedXmlException, sax
    except ImportError:
        raise ValueError("an XML file needs the package defusedxml: pip install 'uwsgi_ws[xml]'") from None
    from xml.sax import SAXParseException

    events: list[tuple[int, str | None, dict[str, str], str]] = []
    try:
        sax.parseString(text.encode(errors="surrogateescape"), _handler(events), forbid_dtd=True)
    except SAXParseException as exc:
        raise ValueError(f"not XML: {exc.getMessage()}, line {exc.getLineNumber()}") from None
    except DefusedXmlException as exc:
        raise ValueError(f"no XML that may be read: {exc}") from None
    return _elements(iter(events), file, section, findings)


def _handler(events: list[tuple[int, str | None, dict[str, str], str]]) -> Any:
    """Return the parser's handler. It collects of each element its line, name and attributes, then texts, then None."""
    from xml.sax.handler import ContentHandler

    class Handler(ContentHandler):
        def setDocumentLocator(self, locator: Any) -> None:
            self._locator = locator

        def startElement(self, name: str, attrs: Any) -> None:
            events.append((self._locator.getLineNumber(), name, dict(attrs.items()), ""))

        def characters(self, content: str) -> None:
            events.append((0, "", {}, content))

        def endElement(self, name: str) -> None:
            events.append((0, None, {}, ""))

    return Handler()


def _elements(
    events: Iterator[tuple[int, str | None, dict[str, str], str]], file: str, section: str, findings: Findings
) -> list[Setting] | None:
    settings: list[Setting] | None = None
    is_inside = False  # of the element that counts
    name, text, line, depth = "", "", 0, 0
    attributes: dict[str, str] = {}

    def counts(attributes: dict[str, str]) -> bool:
        return section == "uwsgi" or attributes.get("id", section) == section

    for number, element, found, content in events:
        if element == "":
            text += content
        elif element is not None and not is_inside:
            is_inside = settings is None and element == "uwsgi" and counts(found)
            settings = [] if is_inside else settings
        elif element is not None:
            depth += 1
            if depth == 1:
                name, line, attributes = element, number, found
                text = ""
        elif depth == 1:
            depth = 0
            if counts(attributes):
                assert settings is not None, "made when the element began"
                settings.extend(_of_element(name, attributes, text.strip(), f"{file}:{line}", findings))
        elif depth:
            depth -= 1
        else:
            is_inside = False
    return settings


def _of_element(name: str, attributes: dict[str, str], text: str, source: str, findings: Findings) -> Iterable[Setting]:
    if name != "app":
        yield Setting(name, text or "1", source)
    elif "mountpoint" in attributes and text:
        yield Setting("mount", f"{attributes['mountpoint']}={text}", source)
    else:
        findings.notes.append(Note("reading", "<app>", "has no mountpoint with an application", source))


def _nested(name: str, source: str) -> Note:
    return Note("reading", name, "holds more than values, and does not count", source)
