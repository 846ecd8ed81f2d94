"""Settings and configs of any kind."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mmseg_cascadepsp.apis import Refiner, build_model
from mmseg_cascadepsp.cascade import CascadeSettings, FusionSettings
from mmseg_cascadepsp.files.mask_values import Reading
from mmseg_cascadepsp.files.run_options import RunOptions
from mmseg_cascadepsp.models.chain import build_strategy
from tests.fuzz import Agrees, Refused, attempt, cases

pytestmark = pytest.mark.slow

ANY = [
    None, True, False, 0, 1, 2, -1, 66, 900, 0.5, 1.0, 1.5, -0.1, float('nan'), float('inf'),
    10**12, '', 'x', 'auto', 'both', 'release', 'uniform', 'adaptive', '66', [], [1], (0, 255), {},
    {'type': 'x'}, b'1', 1j, object, {1, 2}, 'a\nb',
]  # fmt: skip


@st.composite
def changes(draw, names):
    """Some arguments with values of any kind."""
    chosen = draw(st.lists(st.sampled_from([*names, 'none_such']), max_size=2, unique=True))
    return {name: draw(st.sampled_from(ANY)) for name in chosen}


def fields(kind):
    return sorted(field.name for field in dataclasses.fields(kind))


@pytest.mark.parametrize('kind', [CascadeSettings, FusionSettings, RunOptions, Reading])
def test_settings(kind):
    @given(changes(fields(kind)))
    @cases(0.02)
    def check(options):
        known = set(options) <= set(fields(kind))
        own = {name: value for name, value in options.items() if name != 'none_such'}
        made = attempt(kind, **own)
        if isinstance(made, Refused):
            assert any(name in made for name in own), made
            return
        for name, value in options.items():
            assert value == value and value != float('inf') or name == 'none_such', name
        if known and kind is CascadeSettings:
            refiner = attempt(Refiner, Agrees(), **options)
            assert refiner.cascade == made

    check()


STRATEGIES = ['scene', 'semantic', 'binary', 'auto']
SETTINGS = [*fields(FusionSettings), 'L', 'steps', 'region']


@given(st.sampled_from([*STRATEGIES, 'x', None, 3, {}]), changes(SETTINGS))
@cases(0.04)
def test_strategies(kind, options):
    attempt(build_strategy, {'type': kind, **options}, ('a', 'b', 'c'))


def paths_of(cfg, at=()):
    """All entries of nested dicts."""
    for key, value in cfg.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*at, key))


def entry(cfg, path):
    for key in path:
        cfg = cfg[key]
    return cfg


@given(st.data())
@cases(0.02)
def test_models(tmp_path_factory, tiny_config, data):
    """A config with one entry changed or left out, or cut short."""
    folder = tmp_path_factory.getbasetemp()
    path = folder / 'fuzzed.py'
    if data.draw(st.integers(0, 3), 'cut') == 0:
        text = tiny_config.read_text()
        path.write_text(text[: data.draw(st.integers(0, len(text)), 'at')])
    else:
        cfg = Config.fromfile(tiny_config).to_dict()
        where = data.draw(st.sampled_from(sorted(paths_of(cfg))), 'where')
        parent = entry(cfg, where[:-1])
        if data.draw(st.booleans(), 'left out'):
            del parent[where[-1]]
        else:
            values = [value for value in ANY if value is not object and value == value]
            values = [value for value in values if value != float('inf')]
            parent[where[-1]] = data.draw(st.sampled_from(values), 'value')
        path.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.items()))
    result = attempt(build_model, path)
    if not isinstance(result, Refused):
        assert isinstance(result[0].refine_pass, object)
