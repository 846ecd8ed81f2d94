"""The house: imports between rooms go down only, and no two rooms import each other."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mmseg_cascadepsp'
NAME = PACKAGE.name
#: Rooms from the bottom up. Rooms of one floor do not import each other.
FLOORS = (
    ('errors', 'version'),
    ('compat', 'cascade'),
    ('visualization',),
    ('files',),
    ('datasets', 'evaluation', 'models.refiner'),
    ('models.chain',),
    ('models',),
    ('engine', 'annotations'),
    ('apis',),
    ('cli',),
    ('',),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """The room of a module's name without the package's, such as ``files.reading``."""
    parts = module.split('.')
    for length in (2, 1):
        if '.'.join(parts[:length]) in FLOOR:
            return '.'.join(parts[:length])
    return '' if module in ('', '__main__') else parts[0]


def modules():
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        yield '.'.join(parts[:-1] if parts[-1] == '__init__' else parts), path


def imports_of(module: str, path: Path):
    """Modules of the package that a module imports, at its top or inside functions."""
    own = module.split('.') if module else []
    package = own if path.stem == '__init__' else own[:-1]
    known = {name for name, _ in modules()}
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = '.'.join([NAME, *above, *([base] if base else [])])
            names = [f'{base}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            if name == NAME or name.startswith(f'{NAME}.'):
                inside = name[len(NAME) + 1 :]
                while inside not in known and '.' in inside:
                    inside = inside.rpartition('.')[0]
                yield inside if inside in known else ''


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
    standard = {'abc', 'collections', 'copy', 'dataclasses', 'functools', 'math', 'typing'}
    for path in sorted((PACKAGE / 'cascade').glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                assert name.partition('.')[0] in allowed | standard, f'{path.name}: {name}'


def test_scripts_load_no_scripts():
    root = PACKAGE.parent
    for path in [*PACKAGE.rglob('*.py'), *(root / 'tools').rglob('*.py')]:
        assert 'spec_from_file_location' not in path.read_text(encoding='utf-8'), path


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
