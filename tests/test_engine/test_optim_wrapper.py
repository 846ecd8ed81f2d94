"""bfloat16 where the device is fast at it, float32 elsewhere."""

import warnings

import pytest
import torch

from mmseg_cascadepsp.engine import BFloat16OptimWrapper, optim_wrapper


@pytest.mark.parametrize(('fast', 'dtype'), [(True, torch.bfloat16), (False, torch.float32)])
def test_dtype_on_a_cpu(monkeypatch, fast, dtype):
    monkeypatch.setattr(optim_wrapper, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(optim_wrapper, 'has_fast_bf16', lambda device: fast)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        wrapper = BFloat16OptimWrapper(optimizer)
    assert ['training uses float32' in str(entry.message) for entry in caught] == [True] * (
        not fast
    )
    for _ in range(2):
        with wrapper.optim_context(model), warnings.catch_warnings():
            warnings.simplefilter('error')
            out = model(torch.ones(1, 2))
        assert out.dtype == dtype
        wrapper.update_params(out.float().mean())
