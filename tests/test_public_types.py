"""The public interface is annotated throughout; that the annotations are right, mypy says."""

import inspect

import pytest

import mmseg_cascadepsp
from mmseg_cascadepsp import apis, errors
from mmseg_cascadepsp.evaluation import functional

MODULES = (mmseg_cascadepsp, apis, functional, errors)


def callables():
    for module in MODULES:
        names = {*getattr(module, '__all__', ()), *getattr(module, 'FRONT_DOORS', ())}
        for name in sorted(names or {key for key in vars(module) if not key.startswith('_')}):
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield f'{module.__name__}.{name}', value
            elif inspect.isclass(value) and value.__module__.startswith('mmseg_cascadepsp'):
                for key, method in vars(value).items():
                    if inspect.isfunction(method) and (key == '__init__' or key[0] != '_'):
                        yield f'{module.__name__}.{name}.{key}', method


@pytest.mark.parametrize('function', [pytest.param(value, id=name) for name, value in callables()])
def test_every_argument_and_result_has_a_type(function):
    signature = inspect.signature(function)
    bare = [
        name
        for name, parameter in signature.parameters.items()
        if name != 'self' and parameter.annotation is inspect.Parameter.empty
    ]
    assert not bare, f'without a type: {", ".join(bare)}'
    assert signature.return_annotation is not inspect.Signature.empty
