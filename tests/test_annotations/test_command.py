"""The command line, with the refiner that comes with the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_cascadepsp.errors import FileError

pytest.importorskip('pycocotools')
pytest.importorskip('shapely')

from mmseg_cascadepsp.cli.annotations import main  # noqa: E402

from .sets import coco, yolo  # noqa: E402


def test_a_dry_run_needs_no_refiner(tmp_path, capsys):
    path, images = coco(tmp_path)
    out = tmp_path / 'out.json'
    assert main([str(path), '--images', str(images), '-o', str(out), '--dry-run']) == 0
    assert out.read_bytes() == path.read_bytes()
    assert 'COCO: 0 objects refined, 7 kept, 0 failed; 0 photos failed' in capsys.readouterr().out


def test_what_is_missing_is_named_and_the_status_says_so(tmp_path, capsys):
    path, images = coco(tmp_path)
    (images / 'b.png').unlink()
    out = tmp_path / 'out.json'
    assert main([str(path), '--images', str(images), '-o', str(out), '--dry-run']) == 1
    assert 'b.png is not in' in capsys.readouterr().err
    assert out.read_bytes() == path.read_bytes()


AGAIN = """
import sys
from mmseg_cascadepsp.cli.annotations import main
status = main(sys.argv[1:])
print('torch' in sys.modules)
sys.exit(status)
"""


@pytest.mark.parametrize('failed', [False, True])
def test_the_same_command_again_has_nothing_to_do(failed, tmp_path, capsys, monkeypatch):
    path, images = coco(tmp_path)
    if failed:
        path.write_text(path.read_text().replace('"image_id": 5', '"image_id": 77', 1))
    monkeypatch.chdir(tmp_path)
    arguments = [path.name, '--images', images.name, '-o', 'out.json', '--dry-run']
    assert main(arguments) == failed
    told = capsys.readouterr().out.strip()
    time = (tmp_path / 'out.json').stat().st_mtime_ns
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).resolve().parents[2])}
    again = subprocess.run(
        [sys.executable, '-c', AGAIN, *arguments], env=environment, capture_output=True, text=True
    )
    assert again.returncode == failed, again.stderr
    assert again.stdout == f'{told} was there already, and nothing is left to do\nFalse\n'
    assert (tmp_path / 'out.json').stat().st_mtime_ns == time
    with pytest.raises(FileError, match='is there already, and not from this very run'):
        main([*arguments, '--min-side', '9'])


@pytest.mark.slow
def test_the_shipped_refiner(tmp_path, capsys):
    path, images = coco(tmp_path)
    out, page = tmp_path / 'out.json', tmp_path / 'page.html'
    arguments = [path, '--images', images, '-o', out, '--report', page, '--truth', path]
    assert main([*map(str, arguments), '--device', 'cpu', '--L', '224']) == 0
    text = capsys.readouterr().out
    assert 'boundary AP' in text and 'refined' in text
    old, new = json.loads(path.read_text()), json.loads(out.read_text())
    assert [a['id'] for a in old['annotations']] == [a['id'] for a in new['annotations']]
    assert page.stat().st_size > 5000


@pytest.mark.slow
def test_a_folder(tmp_path):
    path, _ = yolo(tmp_path)
    out = tmp_path.parent / f'{tmp_path.name}_out'
    assert main([str(path), '-o', str(out), '--device', 'cpu', '--L', '224']) == 0
    assert (out / 'labels' / 'val' / 'b.txt').is_file()
