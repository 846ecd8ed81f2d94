"""The wheel works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def files_of(folder: str) -> set:
    """Files of a top-level folder, caches left out."""
    files = (path.relative_to(ROOT) for path in (ROOT / folder).rglob('*') if path.is_file())
    return {path.as_posix() for path in files if '__pycache__' not in path.parts}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what packaging needs, so that the checkout stays as it is."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    parts = ['setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'CHANGELOG.md']
    for name in parts:
        (source / name).write_bytes((ROOT / name).read_bytes())
    for folder in ('requirements', 'configs', 'demo', 'tools', 'mmseg_cascadepsp'):
        for name in files_of(folder):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index']
    command += ['--no-build-isolation', '--wheel-dir', str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob('*.whl')
    return built


@pytest.mark.slow
def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'demo', 'tools'):
        expected = {f'mmseg_cascadepsp/.mim/{name}' for name in files_of(folder)}
        packed = {name for name in names if name.startswith(f'mmseg_cascadepsp/.mim/{folder}/')}
        assert packed == expected
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
