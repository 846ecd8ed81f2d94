"""The command line of exporting, as a user types it."""

import sys

import numpy as np
import pytest

from mmseg_cascadepsp import apis
from mmseg_cascadepsp.apis import Agreement, Refiner
from tests.test_tools.test_refine import TINY, inputs, load, model  # noqa: F401  fixtures

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
export, refine = load('model_converters/export.py'), load('refine.py')


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
    assert capsys.readouterr().err.startswith('export.py: target must end with .onnx or .pt2')
    assert export.main(['unknown', '-o', 'a.onnx']) == 1
    assert capsys.readouterr().err.startswith('export.py: model must be one of')


def test_int8_takes_given_photos_or_the_demos(model, inputs, monkeypatch, capsys):  # noqa: F811
    pytest.importorskip('skimage')
    asked = []

    def export_int8(refiner, target, photos):
        asked.append([np.shape(image) for image, mask in photos if mask.any()])
        return Agreement(2, 0.9995, 0.9999)

    monkeypatch.setattr(apis, 'export_int8', export_int8)
    arguments = [model[1], '--checkpoint', model[3], '-o', 'a.onnx', '--int8']
    assert export.main([*arguments, '--calibrate', *inputs[:2], '--photos', '3']) == 0
    assert asked == [[(60, 80, 3)] * 3]
    told = 'int8: 99.950% of the probabilities within 0.02 of float32, mask IoU 0.99990, on 2'
    assert capsys.readouterr().out == f'{told} photos\na.onnx written\n'
    assert export.main(arguments) == 0
    assert len(asked[1]) == 5 and asked[1][0] == (512, 512, 3)


def test_int8_without_photos(model, inputs, tmp_path, monkeypatch, capsys):  # noqa: F811
    arguments = [model[1], '--checkpoint', model[3], '-o', str(tmp_path / 'a.onnx')]
    with pytest.raises(SystemExit):
        export.main([*arguments, '--calibrate', *inputs[:2]])
    assert '--calibrate is for --int8' in capsys.readouterr().err
    assert export.main([*arguments, '--int8', '--calibrate', str(tmp_path)]) == 1
    assert f'No set lies in {tmp_path}' in capsys.readouterr().err
    arguments[-1] = str(tmp_path / 'a.pt2')
    assert export.main([*arguments, '--int8', '--calibrate', *inputs[:2]]) == 1
    assert 'target of int8 must end with .onnx' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, 'skimage', None)
    assert export.main([*arguments, '--int8']) == 1
    said = capsys.readouterr().err
    assert 'scikit-image, which is not installed' in said and '--calibrate PHOTOS MASKS' in said
    assert not list(tmp_path.glob('a.*'))
