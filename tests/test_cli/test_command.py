"""The command mmseg-cascadepsp, and what all command lines have in common."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from mmseg_cascadepsp import __version__
from mmseg_cascadepsp.cli import command
from mmseg_cascadepsp.cli.running import EXIT_CODES, cfg_options, run
from mmseg_cascadepsp.errors import InvalidValueError

HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'numpy', 'cv2')
MODULES = ['command', 'convert', 'prepare', 'publish']
MODULES += [module for module, _ in command.COMMANDS.values()]
#: Asks every command line for its help, for its version and for what it does not know.
ANSWERS = f"""
import contextlib, importlib, io, sys
from mmseg_cascadepsp.cli import command

def status(main, *argv):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(list(argv))
        except SystemExit as end:
            return end.code, said.getvalue()

for module in {MODULES}:
    main = importlib.import_module(f'mmseg_cascadepsp.cli.{{module}}').main
    code, said = status(main, '--help')
    assert code == 0 and {EXIT_CODES!r} in ' '.join(said.split()), said
    code, said = status(main, '--no-such-option')
    assert code == 2 and 'error' in said, said
assert status(command.main, '--version')[0] == 0
loaded = [name for name in {HEAVY} if name in sys.modules]
assert not loaded, loaded
"""


def test_help_and_wrong_usage_are_answered_at_once():
    subprocess.run([sys.executable, '-W', 'error', '-c', ANSWERS], check=True)


@pytest.mark.parametrize('name', command.COMMANDS)
def test_each_command_calls_itself_by_its_name(name, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([name, '--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: mmseg-cascadepsp {name} ')


def test_help_lists_the_commands_and_version_the_stack(capsys):
    for option in ('--help', '--version'):
        with pytest.raises(SystemExit) as end:
            command.main([option])
        assert end.value.code == 0
    said = capsys.readouterr().out
    for module, text in command.COMMANDS.values():
        assert text in said and importlib.import_module(f'mmseg_cascadepsp.cli.{module}').main
    for line in (f'mmseg_cascadepsp {__version__}', 'python 3', 'torch ', 'mmsegmentation 1'):
        assert f'\n{line}' in said


@pytest.mark.parametrize('argv', [[], ['refin'], ['refine'], ['--refine']])
def test_wrong_usage_has_the_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(argv)
    assert end.value.code == 2 and 'error' in capsys.readouterr().err


@pytest.mark.parametrize(
    'argv',
    [
        ['measure', '--checkpoint', ''],
        ['measure', '--images', ''],
        ['test', 'config.py', ''],
        ['test', 'config.py', '--refiner-checkpoint', ''],
        ['train', 'config.py', '--data-root', ''],
        ['annotations', 'set.json', '-o', 'out.json', '--checkpoint', ''],
        ['serve', '--checkpoint', ''],
        ['export', 'lite', '-o', 'a.onnx', '--checkpoint', ''],
        ['demo', '--checkpoint', ''],
    ],
    ids=' '.join,
)
def test_empty_arguments_of_any_command_are_refused(argv, capsys):
    with pytest.raises(SystemExit):
        command.main(argv)
    told = capsys.readouterr().err
    assert 'is empty, which names nothing; a variable of the shell may not be set' in told


def test_a_module_is_run_as_a_program():
    command = [sys.executable, '-m', 'mmseg_cascadepsp', 'refine', 'no.jpg', 'no.png', '-o', 'o']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == 'mmseg-cascadepsp refine: image no.jpg does not exist.\n'


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('no.jpg', 'no.png'), 'image no.jpg does not exist'),
        ((__file__, __file__, '--threshold', '2'), 'threshold must be at least 0 and below 1'),
    ],
)
def test_wrong_arguments_are_told_before_torch_is_imported(arguments, words):
    code = (
        'import sys\nfrom mmseg_cascadepsp.cli.command import main\n'
        f'print(main(["refine", *{arguments!r}]), "torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == '1 False\n' and words in done.stderr


SEARCHES = """
import gc, sys
from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.running import import_package

def main(argv):
    print(gc.isenabled())
    import_package()
    print(gc.isenabled())

sys.exit(run_as_program(main, 'name'))
"""


def test_imports_are_not_searched_for_garbage_and_work_is():
    done = subprocess.run([sys.executable, '-c', SEARCHES], capture_output=True, text=True)
    assert done.stdout.split() == ['False', 'True']


@pytest.mark.parametrize(
    ('name', 'compiled'),
    [('refine.py', False), ('mmseg-cascadepsp annotations', False), ('train.py', True)],
)
def test_commands_that_only_refine_start_without_torchscript(name, compiled):
    code = (
        'import sys\nfrom mmseg_cascadepsp.cli.command import run_as_program\n'
        'def main(argv):\n    import torch\n    module = torch.nn.Flatten()\n'
        '    print(torch.jit.script(module) is not module)\n'
        f'sys.exit(run_as_program(main, {name!r}))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split() == [str(compiled)], done.stderr


SAYS_A_NAME = """
import sys
from mmseg_cascadepsp.cli.command import run_as_program

def main(argv):
    for index in range(3):
        print('refined \u732b.png', 'x' * 10000)
        print('refined \u732b.png', 'x' * 10000, file=sys.stderr)
    open(sys.argv[1], 'w').close()
    return 3

sys.exit(run_as_program(main, 'name'))
"""


@pytest.mark.parametrize('gone', [False, True])
def test_a_terminal_that_cannot_print_a_name_does_not_end_the_work(tmp_path, gone):
    """One of another encoding, and a pipe that is closed at its other end."""
    command = [sys.executable, '-c', SAYS_A_NAME, str(tmp_path / 'done')]
    env = os.environ | {'PYTHONIOENCODING': 'cp1252', 'PYTHONUTF8': '0'}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, env=env, **pipes) as process:
        if gone:
            process.stdout.close(), process.stderr.close()
            said = []
        else:
            said = process.communicate()
        assert process.wait() == 3 and (tmp_path / 'done').exists()
    for text in said:
        assert text.count(b'refined \\u732b.png x') == 3 and b'Traceback' not in text


def test_models_lists_names_sizes_and_where_weights_are(capsys):
    assert command.main(['models']) == 0
    lite, r50 = [line for line in capsys.readouterr().out.splitlines() if '_' in line]
    assert 'cascadepsp_lite.py' in lite and '3.4 M' in lite and '7 MB, in the package' in lite
    assert '67.7 M' in r50 and '259 MB' in r50 and 'https://github.com/hkchengrex' in r50


class TestRun:
    """How a command line ends."""

    @staticmethod
    def end(error):
        def main(argv):
            raise error

        return run(main, 'refine', [])

    @pytest.mark.parametrize(
        ('error', 'sentence'),
        [
            (InvalidValueError('L must be at least 66, got 3.'), 'L must be at least 66, got 3.'),
            (OSError(28, 'No space left on device'), 'No space left on device'),
            (PermissionError(13, 'Permission denied', 'out.png'), 'Permission denied: out.png'),
        ],
    )
    def test_what_a_user_can_mend_is_a_sentence(self, error, sentence, capsys):
        assert self.end(error) == 1
        assert capsys.readouterr().err == f'refine: {sentence}\n'

    def test_interrupted(self, capsys):
        assert self.end(KeyboardInterrupt()) == 130
        assert capsys.readouterr().err == 'refine: interrupted.\n'

    @pytest.mark.parametrize('fault', [ValueError, TypeError, ImportError, KeyError])
    def test_other_errors_keep_their_traceback(self, fault):
        with pytest.raises(fault):
            self.end(fault('a bug'))

    def test_an_error_of_numpy_keeps_its_traceback(self):
        with pytest.raises(ValueError, match='broadcast'):
            run(lambda argv: np.zeros(2) + np.zeros(3), 'refine', [])

    @pytest.mark.parametrize('status', [None, 0, 1])
    def test_statuses_pass(self, status):
        assert run(lambda argv: status, 'refine', []) == (status or 0)


def test_settings_of_a_config():
    text = ['a.b=1', 'c=[1,2]', 'd="x=y"', 'e=None', 'f=word']
    assert cfg_options(text) == {'a.b': 1, 'c': [1, 2], 'd': 'x=y', 'e': None, 'f': 'word'}
    assert cfg_options(None) == {}
    with pytest.raises(InvalidValueError, match="must be KEY=VALUE, got 'a.b'"):
        cfg_options(['a.b'])
