"""The command mmseg-cascadepsp, and how command lines end."""

import subprocess
import sys

import numpy as np
import pytest

from mmseg_cascadepsp.cli import command
from mmseg_cascadepsp.cli.running import run
from mmseg_cascadepsp.errors import InvalidValueError, UserError

START = [sys.executable, '-m', 'mmseg_cascadepsp']


@pytest.mark.parametrize('arguments', [['--help'], ['refine', '--help'], ['train', '--help']])
def test_help_answers_without_loading_anything(arguments):
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', *START[1:], *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'exit status' in done.stdout
    for package in ('torch', 'mmengine', 'numpy'):
        assert f'| {package}\n' not in done.stderr.replace(' ', '').replace('|', '| ')


def test_version_tells_what_results_depend_on():
    done = subprocess.run([*START, '--version'], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names[:2] == ['mmseg_cascadepsp', 'python']
    assert {'torch', 'mmengine', 'mmsegmentation'} <= set(names)


def test_wrong_usage_is_told(capsys):
    for arguments in ([], ['sharpen']):
        with pytest.raises(SystemExit) as ended:
            command.main(arguments)
        assert ended.value.code == 2
    assert "invalid choice: 'sharpen'" in capsys.readouterr().err


def test_every_sub_command_has_a_parser(capsys):
    for name in command.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            command.main([name, '--help'])
        assert ended.value.code == 0 and 'usage:' in capsys.readouterr().out


def test_names_of_the_zoo(capsys):
    assert command.main(['models']) == 0
    said = capsys.readouterr().out
    assert 'lite' in said and '3.4 M' in said and 'r50' in said and '67.7 M' in said


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize(
    ('error', 'status', 'words'),
    [
        (
            InvalidValueError('L must be at least 66, got 3.'),
            1,
            'x: L must be at least 66, got 3.\n',
        ),
        (OSError(28, 'No space left on device'), 1, 'x: No space left on device\n'),
        (KeyboardInterrupt(), 130, 'x: interrupted.\n'),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(error, status, words, capsys):
    assert run(raising(error), 'x') == status
    assert capsys.readouterr().err == words


def test_every_other_error_keeps_its_traceback():
    def main(argv):
        return np.zeros(3) + np.zeros(4)

    with pytest.raises(ValueError, match='broadcast') as caught:
        run(main, 'x')
    assert not isinstance(caught.value, UserError)
