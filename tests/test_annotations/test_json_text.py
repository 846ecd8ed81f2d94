"""Changing values in JSON text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_cascadepsp.annotations.json_text import elements, members, replaced
from mmseg_cascadepsp.errors import FileError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
styles = st.sampled_from(
    [{}, {'indent': 2}, {'indent': '\t'}, {'separators': (',', ':')}, {'ensure_ascii': False}]
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5), styles)
def test_members_are_those_of_the_parser(data, style):
    text = json.dumps(data, **style)
    assert {key: cursor.span().value(text) for key, cursor in members(text, 0)} == data
    assert replaced(text, {}) == text


@given(st.lists(values, max_size=5), styles)
def test_elements_are_those_of_the_parser(data, style):
    text = json.dumps(data, **style)
    assert [cursor.span().value(text) for cursor in elements(text, 0)] == data


@given(st.lists(st.lists(st.integers(0, 99), min_size=1), min_size=1, max_size=4), styles)
def test_what_is_replaced_has_the_style_of_the_rest(data, style):
    whole = {'a': data, 'ü': [1, {'b': 2.50}]}
    text = json.dumps(whole, **style)
    cursor = next(cursor for key, cursor in members(text, 0) if key == 'a')
    spans = [item.span() for item in cursor.elements()]
    new = replaced(text, {span: [7, 8, 9] for span in spans})
    assert new == json.dumps({**whole, 'a': [[7, 8, 9]] * len(data)}, **style)


@pytest.mark.parametrize(
    'text', ['[1]', '{"a" 1}', '{"a": }', '{"a": 1 "b": 2}', '{a: 1}', '{"a": 1']
)
def test_what_is_no_json_is_named(text):
    with pytest.raises(FileError):
        [cursor.span() for _, cursor in members(text, 0)]
