import builtins
import json
import re
import sys
from pathlib import Path

import pytest

from mmseg_cascadepsp.cli import serve
from mmseg_cascadepsp.cli.running import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--max-megapixels', '0'], '--max-megapixels must be positive'),
        (['--max-waiting', '-1'], '--max-waiting must be positive'),
        (['--model', 'lite', 'r50', '--checkpoint', 'a.pth'], 'single --model'),
        (['--model', 'a/my.py', 'b/my.py'], 'my, my'),
    ],
)
def test_wrong_usage_is_told_before_anything_is_loaded(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        serve.main(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_it_listens_to_this_machine_alone_unless_asked():
    assert serve.build_parser().parse_args([]).host == '127.0.0.1'


def test_a_missing_extra_is_named(monkeypatch, capsys):
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition('.')[0] == 'fastapi':
            raise ModuleNotFoundError("No module named 'fastapi'", name='fastapi')
        return imported(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, 'mmseg_cascadepsp.app.server', raising=False)
    monkeypatch.setattr(builtins, '__import__', without)
    assert run(serve.main, 'serve', ['--port', '0']) == 1
    assert 'pip install "mmseg_cascadepsp[app]"' in capsys.readouterr().err


def test_the_image_of_docker_starts_what_there_is():
    lines = (ROOT / 'Dockerfile').read_text().replace('\\\n', '').splitlines()
    command = next(line for line in lines if line.startswith('ENTRYPOINT'))
    name, command, *arguments = json.loads(command.removeprefix('ENTRYPOINT'))
    assert (name, command) == ('mmseg-cascadepsp', 'serve')
    args = serve.build_parser().parse_args(arguments)
    assert f'EXPOSE {args.port}' in lines and args.host == '0.0.0.0'
    assert any(re.fullmatch(r'USER [1-9]\d*', line) for line in lines)
    extras = next(re.search(r'/src\[(.*)\]', line)[1] for line in lines if '/src[' in line)
    assert all((ROOT / 'requirements' / f'{extra}.txt').is_file() for extra in extras.split(','))
