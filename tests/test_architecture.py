"""The house: imports between rooms go down only, and no two rooms import each other."""

import ast
import subprocess
import sys

from tests.architecture import (
    FLOOR,
    NAME,
    PACKAGE,
    imports_of,
    modules,
    picture,
    room_of,
    way_of_second_photo,
)


def test_every_room_has_a_floor_and_says_what_it_is_for():
    for module, path in modules():
        assert room_of(module) in FLOOR, f'{module} is in a room without a floor'
        if path.stem == '__init__':
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
            assert docstring, f'{path} does not say in its first line what the room is for'


def test_imports_go_down():
    wrong = []
    for module, path in modules():
        own = room_of(module)
        if own == '':  # the front door
            continue
        for imported in imports_of(module, path):
            other = room_of(imported)
            if other != own and FLOOR.get(other, 99) >= FLOOR[own]:
                wrong.append(f'{module} imports {imported or NAME}')
    assert not wrong, '\n'.join(sorted(set(wrong)))


#: What refining a mask does not need, and what takes long to import.
LATER = """
    mmseg.apis mmseg.datasets shapely pycocotools rasterio matplotlib onnx fastapi gradio ray
""".split()


def test_a_refiner_imports_what_it_needs():
    code = f"""
import sys
from mmseg_cascadepsp import Refiner
print([name for name in {LATER} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_there_is_no_circle():
    arrows = {module: set(imports_of(module, path)) - {module, ''} for module, path in modules()}
    # A room's __init__ gathers its modules: within the room, arrows to it are no imports of them.
    for module in arrows:
        arrows[module] = {name for name in arrows[module] if not module.startswith(f'{name}.')}
    done, way = set(), []

    def visit(module):
        assert module not in way, ' -> '.join([*way[way.index(module) :], module])
        if module in done:
            return
        way.append(module)
        for name in sorted(arrows[module]):
            visit(name)
        way.pop()
        done.add(module)

    for module in arrows:
        visit(module)


def test_the_core_knows_torch_numpy_and_opencv_alone():
    allowed = {'torch', 'numpy', 'cv2', NAME}
    standard = {
        'abc',
        'collections',
        'contextlib',
        'copy',
        'dataclasses',
        'functools',
        'math',
        'numbers',
        'os',
        're',
        'typing',
    }
    for path in sorted((PACKAGE / 'cascade').glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                assert name.partition('.')[0] in allowed | standard, f'{path.name}: {name}'


def test_the_way_to_the_first_convolution_is_short():
    calls = way_of_second_photo()
    assert calls[-1][0] == 'models/refiner/efficientnet_lite.py'  # it came so far
    assert len(set(calls)) <= 50 and len({module for module, _ in calls}) <= 15, calls


def test_scripts_load_no_scripts():
    root = PACKAGE.parent
    for path in [*PACKAGE.rglob('*.py'), *(root / 'tools').rglob('*.py')]:
        assert 'spec_from_file_location' not in path.read_text(encoding='utf-8'), path


#: Rooms whose public functions and classes do not have an example each yet.
WITHOUT_EXAMPLES = {'annotations', 'app', 'cli'}


def test_public_functions_and_classes_have_an_example():
    lacking = []
    for module, path in modules():
        if room_of(module) in WITHOUT_EXAMPLES or module == 'cascade.changes':
            continue
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            if isinstance(node, kinds) and not node.name.startswith('_'):
                if 'Example:' not in (ast.get_docstring(node) or ''):
                    lacking.append(f'{module}.{node.name}')
    assert not lacking, '\n'.join(lacking)


def test_signatures_stay_short():
    """More than about eight parameters ask for an object; constructors are MMEngine's."""
    long = []
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef) and node.name != '__init__':
                arguments = node.args
                named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                count = len(
                    [argument for argument in named if argument.arg not in ('self', 'cls')]
                )
                if count > 8:
                    long.append(f'{module}.{node.name}: {count}')
    assert not long, '\n'.join(long)


def test_the_picture_in_the_docs_is_todays():
    drawn = PACKAGE.parent / 'docs' / 'images' / 'architecture.svg'
    assert drawn.read_text(encoding='utf-8') == picture(), 'python tests/architecture.py'
