"""The notebook of the demo runs from top to bottom."""

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / 'demo' / 'refine.ipynb'


@pytest.mark.slow
def test_it_runs_and_the_mask_gets_better(monkeypatch):
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    pytest.importorskip('skimage')
    monkeypatch.setenv('PYTHONPATH', str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert not any(cell.outputs or cell.execution_count for cell in code)  # kept stripped
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={'metadata': {'path': str(NOTEBOOK.parent)}}
    )
    client.execute()
    printed = ''.join(
        output.get('text', '') for cell in code for output in cell.outputs
    )  # fmt: skip
    coarse, refined = re.findall(r'IoU ([\d.]+) % +mBA ([\d.]+) %', printed)
    assert float(refined[0]) > float(coarse[0]) + 3
    assert float(refined[1]) > float(coarse[1]) + 3
    pictures = [
        output for cell in code for output in cell.outputs if 'image/png' in output.get('data', {})
    ]
    assert len(pictures) == 2
