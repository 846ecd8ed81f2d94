"""The command line of exporting, as a user types it."""

import pytest

from mmseg_cascadepsp import Refiner
from tests.test_tools.test_refine import TINY, Command, inputs, model  # noqa: F401  fixtures

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
export, refine = Command('export', 'export.py'), Command('refine', 'refine.py')


@pytest.mark.slow
def test_a_file_that_refine_takes(model, inputs, tmp_path, capsys):  # noqa: F811
    target = str(tmp_path / 'tiny.onnx')
    assert export.main([model[1], '--checkpoint', model[3], '-o', target]) == 0
    assert capsys.readouterr().out == f'{target} written\n'
    assert Refiner(target).name == TINY.stem
    assert refine.main([*inputs, '--model', target, '--L', '80']) == 0
    assert capsys.readouterr().out.startswith('4 refined, 0 were there already, 0 failed')
    assert refine.main([*inputs, '--model', target, '--precision', 'bf16']) == 1
    assert "precision must be 'auto' or 'fp32'" in capsys.readouterr().err


def test_errors_are_sentences(model, capsys, tmp_path):  # noqa: F811
    arguments = [model[1], '--checkpoint', model[3], '-o', str(tmp_path / 'tiny.trt')]
    assert export.main(arguments) == 1
    assert capsys.readouterr().err.startswith('export.py: target must end with .onnx')
    assert export.main(['unknown', '-o', 'a.onnx']) == 1
    assert capsys.readouterr().err.startswith('export.py: model must be one of')
