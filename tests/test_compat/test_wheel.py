"""The wheel works where there is no checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def files_of(folder: str) -> set:
    """Files of a top-level folder, caches left out."""
    files = (path.relative_to(ROOT) for path in (ROOT / folder).rglob('*') if path.is_file())
    return {path.as_posix() for path in files if '__pycache__' not in path.parts}


def run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope='module')
def sdist(tmp_path_factory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('sdist')
    left_out = shutil.ignore_patterns(
        '__pycache__', '.*_cache', '.git', '.venv', '.ci', '.hypothesis', '*.egg-info', 'build',
        'dist', '_build', 'work_dirs', 'demo_output', 'shared',
    )  # fmt: skip
    shutil.copytree(ROOT, source, ignore=left_out, dirs_exist_ok=True)
    code = f'from setuptools.build_meta import build_sdist; build_sdist({str(target)!r})'
    run('-c', code, cwd=source)
    (built,) = target.glob('*.tar.gz')
    return built


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory) -> Path:
    """Built from what the sdist holds."""
    source, target = tmp_path_factory.mktemp('unpacked'), tmp_path_factory.mktemp('wheel')
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter='data')
    (folder,) = source.iterdir()
    command = ('-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index', '--no-build-isolation')
    run(*command, '--wheel-dir', str(target), str(folder))
    (built,) = target.glob('*.whl')
    return built


@pytest.mark.slow
def test_the_index_accepts_both(sdist, wheel):
    pytest.importorskip('twine')
    run('-m', 'twine', 'check', '--strict', str(sdist), str(wheel))


@pytest.mark.slow
def test_the_sdist_has_what_a_packager_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    for name in ('LICENSE', 'CHANGELOG.md', 'CITATION.cff', 'SECURITY.md', 'Makefile'):
        assert name in names
    for folder in ('tests', 'docs', 'benchmarks', 'requirements', '.github'):
        assert {name for name in files_of(folder) if '/_build/' not in name} <= names


@pytest.mark.slow
def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'demo', 'tools'):
        expected = {f'mmseg_cascadepsp/.mim/{name}' for name in files_of(folder)}
        packed = {name for name in names if name.startswith(f'mmseg_cascadepsp/.mim/{folder}/')}
        assert packed == expected
    assert {'mmseg_cascadepsp/py.typed', 'mmseg_cascadepsp/.mim/model-index.yml'} <= names
    package = {name for name in files_of('mmseg_cascadepsp') if name.endswith('.py')}
    weights = {name for name in files_of('mmseg_cascadepsp') if '/weights/' in name}
    assert package | weights <= names
    assert {name.partition('/')[0].partition('-')[0] for name in names} == {'mmseg_cascadepsp'}


@pytest.mark.slow
def test_import_outside_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    code = (
        'import sys; sys.path.insert(0, "site"); import mmseg_cascadepsp; '
        'from pathlib import Path; root = Path("site").resolve(); '
        'assert root in Path(mmseg_cascadepsp.__file__).resolve().parents; '
        'from mmseg_cascadepsp import Refiner; '
        'from mmseg_cascadepsp.apis import find_config, find_weights; '
        'assert root in find_config("cascadepsp_r50.py").parents; '
        'assert root in find_weights("lite").parents; '
        'Refiner("lite", device="cpu"); print("fine")'
    )
    # MMEngine prints that it uses the variable, where the shell has it.
    env = {key: value for key, value in os.environ.items() if key != 'MMSEG_CASCADEPSP_DATA'}
    done = subprocess.run(
        [sys.executable, '-I', '-c', code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == 'fine\n', done.stderr
