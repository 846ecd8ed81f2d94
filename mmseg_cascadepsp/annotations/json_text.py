"""Changing values in the text of a JSON file, so that all the rest keeps every byte."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json.decoder import WHITESPACE, scanstring
from pathlib import Path
from typing import Any, NamedTuple

from mmseg_cascadepsp.errors import FileError

_scan = json.JSONDecoder().scan_once


class Span(NamedTuple):
    """Where a value lies in a text."""

    start: int
    end: int

    def value(self, text: str) -> Any:
        """The value."""
        return json.loads(text[self.start : self.end])


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Where a file is no JSON, the error names it.

    Raises:
        FileError: It is no JSON.
    """
    try:
        yield
    except (FileError, json.JSONDecodeError) as error:
        raise FileError(f'{path} cannot be read: {error}') from error


def _skip(text: str, at: int) -> int:
    return WHITESPACE.match(text, at).end()


def end_of(text: str, at: int) -> int:
    """Where the value that begins at ``at`` ends.

    Example:
        >>> end_of('[1, [2]] ', 0)
        8
    """
    try:
        return _scan(text, at)[1]
    except StopIteration as error:
        raise FileError(f'no JSON value at character {at}.') from error


def members(text: str, at: int) -> Iterator[tuple[str, 'Cursor']]:
    """The members of the object that begins at ``at``.

    Yields:
        (key, cursor): the cursor is at the value. Whoever goes into the value moves the cursor
        to its end. Otherwise the value is passed over.

    Raises:
        FileError: The text is no JSON object.

    Example:
        >>> text = '{"a": [1, 2], "b": {}}'
        >>> [(key, cursor.span().value(text)) for key, cursor in members(text, 0)]
        [('a', [1, 2]), ('b', {})]
    """

    def entry(at: int):
        if text[at : at + 1] != '"':
            raise FileError(f'no JSON: a key is missing at character {at}.')
        key, at = scanstring(text, at + 1, False)
        at = _skip(text, at)
        if text[at : at + 1] != ':':
            raise FileError(f"no JSON: ':' is missing at character {at}.")
        return key, Cursor(text, _skip(text, at + 1))

    yield from _items(text, at, '{}', entry, lambda found: found[1].end())


def elements(text: str, at: int) -> Iterator['Cursor']:
    """The elements of the array that begins at ``at``, see :func:`members`.

    Example:
        >>> [cursor.span() for cursor in elements('[1, 22]', 0)]
        [Span(start=1, end=2), Span(start=4, end=6)]
    """
    yield from _items(text, at, '[]', lambda at: Cursor(text, at), lambda found: found.end())


def _items(text: str, at: int, brackets: str, entry: Callable, end: Callable) -> Iterator:
    if text[at : at + 1] != brackets[0]:
        raise FileError(f'no JSON: {brackets[0]!r} is missing at character {at}.')
    at = _skip(text, at + 1)
    while text[at : at + 1] != brackets[1]:
        found = entry(at)
        yield found
        at = _skip(text, end(found))
        if text[at : at + 1] == ',':
            at = _skip(text, at + 1)
        elif text[at : at + 1] != brackets[1]:
            raise FileError(f"no JSON: ',' or {brackets[1]!r} is missing at character {at}.")


class Cursor:
    """A value in a text, whose end is looked for when it is needed.

    Args:
        text: The text.
        start: Where the value begins.
    """

    def __init__(self, text: str, start: int) -> None:
        self.text, self.start, self._end = text, start, None

    def end(self) -> int:
        """Where the value ends."""
        if self._end is None:
            self._end = end_of(self.text, self.start)
        return self._end

    def span(self) -> Span:
        """Where the value lies."""
        return Span(self.start, self.end())

    def kind(self) -> str:
        """The first character of the value."""
        return self.text[self.start : self.start + 1]

    def members(self) -> Iterator[tuple[str, 'Cursor']]:
        """See :func:`members`."""
        yield from members(self.text, self.start)

    def elements(self) -> Iterator['Cursor']:
        """See :func:`elements`. The end of the array is found on the way."""
        at = self.start
        for cursor in elements(self.text, self.start):
            yield cursor
            at = cursor.end()
        after = _skip(self.text, at + (1 if at == self.start else 0))
        self._end = after + 1


def replaced(text: str, changes: dict[Span, Any]) -> str:
    """A text with some values replaced, written in its own style.

    Args:
        text: The JSON text.
        changes: Where -> the new value. A value that lay on several lines is indented as the
            text is. Numbers become fractions (``3.0``) where the old value had fractions.

    Example:
        >>> text = '{"a":[1,2],"b":[1.5]}'
        >>> spans = [cursor.span() for _, cursor in members(text, 0)]
        >>> replaced(text, {spans[0]: [7, 8], spans[1]: [7, 8]})
        '{"a":[7,8],"b":[7.0,8.0]}'
    """
    start = text[:2000]
    indent = re.search(r'[\[{]\s*\n([ \t]+)', start)
    colon = ': ' if re.search(r'"\s*: ', start) else ':'
    comma = (
        ', ' if re.search(r'[\]}"\d], ', start) or not re.search(r'[\]}"\d],\S', start) else ','
    )
    pieces, done = [], 0
    for span in sorted(changes):
        old, value = text[span.start : span.end], changes[span]
        if re.search(r'\d\.\d', old):
            value = _fractions(value)
        if '\n' in old and indent:
            line = text.rfind('\n', 0, span.start) + 1
            margin = re.match(r'[ \t]*', text[line : span.start]).group()
            new = json.dumps(value, indent=indent[1], separators=(',', colon))
            new = new.replace('\n', ('\r\n' if '\r\n' in old else '\n') + margin)
        else:
            comma_here = ', ' if ', ' in old else ',' if ',' in old else comma
            new = json.dumps(value, separators=(comma_here, colon))
        pieces += [text[done : span.start], new]
        done = span.end
    return ''.join([*pieces, text[done:]])


def _fractions(value: Any) -> Any:
    if isinstance(value, list):
        return [_fractions(part) for part in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
