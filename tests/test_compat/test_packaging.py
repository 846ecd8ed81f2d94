"""Files that other programs read: metafiles, workflows, forms, citation, hooks, pins."""

import re
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import yaml
from mmengine.config import Config
from packaging.requirements import Requirement
from packaging.version import Version

from mmseg_cascadepsp.compat import versions
from mmseg_cascadepsp.engine import load_from_package
from mmseg_cascadepsp.models.refiner.zoo import ALIASES, ZOO
from mmseg_cascadepsp.version import __version__

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


def read(path: Path | str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))


def pins(name: str) -> dict:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    parsed = [Requirement(text) for line in lines if (text := line.partition('#')[0].strip())]
    return {item.name: item for item in parsed if item.marker is None or item.marker.evaluate()}


METAFILES = [read(name) for name in read('model-index.yml')['Import']]
MODELS = [model for metafile in METAFILES for model in metafile['Models']]


@pytest.fixture(scope='module')
def theirs() -> list[dict]:
    """Some metafiles of MMSegmentation, as it ships them."""
    folder = Path(mmseg.__file__).parent / '.mim' / 'configs'
    families = ('pspnet', 'segformer', 'mask2former', 'vpd')
    return [read(folder / family / 'metafile.yaml') for family in families]


def test_columns_are_those_of_mmsegmentation(theirs):
    for kind in ('Collections', 'Models'):
        entries = [entry for metafile in theirs for entry in metafile.get(kind, ())]
        known = {key for entry in entries for key in entry}
        # What each of theirs has; logs of trainings are not published here.
        always = set.intersection(*(set(entry) for entry in entries)) - {'Training log'}
        for entry in (entry for metafile in METAFILES for entry in metafile[kind]):
            assert always <= entry.keys() <= known, entry['Name']
    always = {'Task', 'Dataset', 'Metrics'}
    metadata = {key for file in theirs for model in file['Models'] for key in model['Metadata']}
    for model in MODELS:
        assert model['Metadata'].keys() <= metadata
        results = model['Results']
        for result in results if isinstance(results, list) else [results]:
            assert result.keys() == always and result['Metrics']


def test_metafiles_name_what_is_there():
    collections = {entry['Name'] for file in METAFILES for entry in file['Collections']}
    for entry in (entry for file in METAFILES for entry in file['Collections']):
        assert (ROOT / entry['README']).is_file()
    for model in MODELS:
        assert model['In Collection'] in collections
        assert (ROOT / model['Code']).is_file()
        cfg = Config.fromfile(ROOT / model['Config'])
        if 'Training Resources' in model['Metadata'] and 'train_dataloader' in cfg:
            assert cfg.train_dataloader.batch_size == model['Metadata']['Batch Size']
        if model['Weights'].startswith('package://'):
            assert load_from_package(model['Weights'])['state_dict']


def test_the_named_refiners_are_listed_with_their_weights():
    listed = {model['Name']: model for model in MODELS}
    for alias, name in ALIASES.items():
        entry, model = ZOO[name], listed[alias]
        assert model['Alias'] == [name] and model['Config'] == f'configs/{entry.config}'
        shipped = f'package://mmseg_cascadepsp/weights/{entry.weights}'
        assert model['Weights'] == (entry.url or shipped)


def test_results_are_those_of_the_model_card():
    """A table's row has them after an arrow; what the paper reports is marked as such."""
    pages = [ROOT / 'mmseg_cascadepsp' / 'weights' / 'README.md', *(ROOT / 'docs').rglob('*.md')]
    rows = [
        line for page in pages for line in page.read_text(encoding='utf-8').splitlines()
    ]  # fmt: skip
    for model in MODELS:
        results = model['Results']
        for result in results if isinstance(results, list) else [results]:
            if 'as the paper reports' in result['Dataset']:
                continue
            scores = {name: f'{value:.2f}' for name, value in result['Metrics'].items()}
            one_row = any(all(f'-> {score} ' in row for score in scores.values()) for row in rows)
            row_each = all(
                any(row.startswith(f'| {name} |') and f' {score} |' in row for row in rows)
                for name, score in scores.items()
            )
            assert one_row or row_each, f'{model["Name"]}: {scores} stand in no table'


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_and_may_do_little(path):
    workflow = read(path)
    assert workflow['permissions'] == {'contents': 'read'}
    for name, job in workflow['jobs'].items():
        assert job['timeout-minutes'] <= 90
        granted = job.get('permissions', {})
        assert granted == ({'id-token': 'write'} if name == 'publish' else {})
        for step in job['steps']:
            if 'uses' in step:
                assert re.search(r'@[0-9a-f]{40}$', step['uses']), step['uses']
            # What others can name, such as a branch, must not reach a shell.
            assert 'github.event' not in step.get('run', '')
    for line in path.read_text(encoding='utf-8').splitlines():
        if 'uses:' in line:
            assert re.search(r'# v\d+\.\d+\.\d+$', line), line


def test_workflows_run_every_python_that_is_supported():
    matrix = read('.github/workflows/tests.yml')['jobs']['install']['strategy']['matrix']
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    first, last = map(int, re.search(r"python_requires='>=3\.(\d+),<3\.(\d+)'", setup).groups())
    assert matrix['python'] == [f'3.{minor}' for minor in range(first, last)]
    assert f'range({first}, {last})' in setup  # the classifiers
    assert {item['os'] for item in matrix['include']} == set(matrix['os'])
    assert all(item['stack'] == 'oldest' for item in matrix['include'])


def test_the_oldest_stack_is_the_lower_bounds():
    oldest, runtime = pins('oldest'), pins('runtime')
    for name, pin in oldest.items():
        version = str(pin.specifier).removeprefix('==')
        bounds = [str(item) for item in runtime[name].specifier] if name in runtime else []
        for bound in bounds:
            if bound.startswith('>='):
                assert Version(version).release[:2] == Version(bound[2:]).release[:2], name
    names = {
        'torch': 'torch',
        'mmcv': 'mmcv-lite',
        'mmengine': 'mmengine',
        'mmseg': 'mmsegmentation',
    }
    for module, name in names.items():
        version = Version(str(oldest[name].specifier).removeprefix('=='))
        assert version == Version(versions.SUPPORTED[module][1])


def test_the_extra_for_mmcv_has_the_bounds_that_an_import_checks():
    _, lowest, highest = versions.SUPPORTED['mmcv']
    assert pins('mmseg')['mmcv-lite'].specifier == Requirement(f'x>={lowest},<{highest}').specifier


def test_hooks_run_the_ruff_of_the_environment():
    hooks = {
        repo['repo'].rpartition('/')[2]: repo['rev']
        for repo in read('.pre-commit-config.yaml')['repos']
    }
    assert f'=={hooks["ruff-pre-commit"][1:]}' == str(pins('env')['ruff'].specifier)


def test_the_citation_is_of_this_version():
    assert read('CITATION.cff')['version'] == __version__


@pytest.mark.slow
@pytest.mark.parametrize(
    'schema, files',
    [
        ('github-workflows', WORKFLOWS),
        ('dependabot', [ROOT / '.github' / 'dependabot.yml']),
        ('citation-file-format', [ROOT / 'CITATION.cff']),
        ('github-issue-config', [ROOT / '.github' / 'ISSUE_TEMPLATE' / 'config.yml']),
        (
            'github-issue-forms',
            [
                ROOT / '.github' / 'ISSUE_TEMPLATE' / f'{name}.yml'
                for name in ('bug', 'mask', 'wish')
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_schemas(schema, files):
    pytest.importorskip('check_jsonschema')
    command = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', f'vendor.{schema}']
    done = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_hooks_are_read_by_pre_commit():
    pytest.importorskip('pre_commit')
    command = [sys.executable, '-m', 'pre_commit', 'validate-config']
    done = subprocess.run(
        [*command, str(ROOT / '.pre-commit-config.yaml')],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
