"""What the package's rooms import of each other, read from the code, and a picture of it.

``python tests/architecture.py`` writes ``docs/images/architecture.svg``.
``python tests/architecture.py way`` prints the functions between ``Refiner.refine`` and the first
convolution of a photo.
"""

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mmseg_cascadepsp'
NAME = PACKAGE.name
#: Rooms from the bottom up. Rooms of one floor do not import each other.
FLOORS = (
    ('errors', 'kernels', 'version'),
    ('compat', 'cascade'),
    ('visualization',),
    ('files',),
    ('datasets', 'evaluation', 'models.refiner'),
    ('models.chain',),
    ('models',),
    ('engine', 'annotations'),
    ('apis',),
    ('app',),
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


def arrows() -> dict[tuple[str, str], int]:
    """(room, room that it imports) -> number of modules that do."""
    found = {}
    for module, path in modules():
        own = room_of(module)
        for other in {room_of(name) for name in imports_of(module, path)} - {own, ''}:
            if own:
                found[own, other] = found.get((own, other), 0) + 1
    return found


def code_lines(room: str) -> int:
    """Lines of a room without blank lines, comments and docstrings."""
    count = 0
    for module, path in modules():
        if room_of(module) != room:
            continue
        tree = ast.parse(path.read_text(encoding='utf-8'))
        for node in ast.walk(tree):  # docstrings
            if isinstance(getattr(node, 'body', None), list) and node.body:
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    node.body = node.body[1:] or [ast.Pass()]
        count += len(ast.unparse(tree).splitlines())
    return count


def picture() -> str:
    """The rooms from the top floor down, with their arrows, as SVG."""
    floors = [[room for room in rooms if room and _exists(room)] for rooms in FLOORS]
    floors = [rooms for rooms in floors[::-1] if rooms and rooms != ['version']]
    width, high, step = 860, 40, 84
    place = {}
    parts = []
    for row, rooms in enumerate(floors):
        for column, room in enumerate(rooms):
            x = width * (column + 1) / (len(rooms) + 1)
            place[room] = (x + (row % 2 - 0.5) * 60, 20 + row * step)
    for (own, other), count in sorted(arrows().items()):
        if own in place and other in place:
            (x1, y1), (x2, y2) = place[own], place[other]
            parts.append(
                f'<line x1="{x1:.0f}" y1="{y1 + high}" x2="{x2:.0f}" y2="{y2 - 2}" '
                f'stroke="#8aa0b5" stroke-width="{min(1 + count / 3, 4):.1f}" '
                f'marker-end="url(#tip)"/>'
            )
    for room, (x, y) in place.items():
        parts.append(
            f'<rect x="{x - 74:.0f}" y="{y}" width="148" height="{high}" rx="6" fill="#f3f6f9" '
            f'stroke="#3c5a78"/><text x="{x:.0f}" y="{y + 25}" text-anchor="middle">'
            f'{room.replace(".", "/")}</text>'
        )
    height = 20 + len(floors) * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="14">\n<defs><marker id="tip" viewBox="0 0 8 8" '
        'refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto" '
        'markerUnits="userSpaceOnUse"><path d="M0,0 L8,4 L0,8 z" fill="#8aa0b5"/></marker>'
        '</defs>\n' + '\n'.join(parts) + '\n</svg>\n'
    )


def _exists(room: str) -> bool:
    path = PACKAGE / room.replace('.', '/')
    return path.is_dir() or path.with_suffix('.py').is_file()


class _FirstConvolution(Exception):
    pass


def way_of_refine(refiner, image, mask) -> list[tuple[str, str]]:
    """(module, function) of each call in the package, until the first convolution."""
    calls = []

    def follow(frame, event, argument):
        if event == 'c_call' and getattr(argument, '__name__', '') == 'conv2d':
            sys.setprofile(None)
            raise _FirstConvolution
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if event == 'call' and PACKAGE in path.parents and not name.startswith('<'):
            function = getattr(frame.f_code, 'co_qualname', name)
            calls.append((path.relative_to(PACKAGE).as_posix(), function))

    sys.setprofile(follow)
    try:
        refiner.refine(image, mask)
    except _FirstConvolution:
        pass
    finally:
        sys.setprofile(None)
    return calls


def way_of_second_photo() -> list[tuple[str, str]]:
    """The way of a photo and its mask: what is prepared once for all photos is left out."""
    import numpy as np

    from mmseg_cascadepsp import Refiner

    refiner = Refiner('lite', device='cpu', L=448)
    image = np.full((512, 512, 3), 40, np.uint8)
    image[100:400, 120:420] = 200
    mask = np.zeros((512, 512), bool)
    mask[110:390, 130:430] = True
    refiner.refine(image, mask)
    return way_of_refine(refiner, image, mask)


def print_way() -> None:
    """Print the functions and count them."""
    sys.path.insert(0, str(PACKAGE.parent))
    calls = way_of_second_photo()
    for module, function in dict.fromkeys(calls):
        print(f'{module:36} {function}')
    modules_passed = [module for module, _ in calls]
    changes = sum(a != b for a, b in zip(modules_passed, modules_passed[1:], strict=False))
    print(
        f'{len(set(calls))} functions in {len(set(modules_passed))} modules, '
        f'{changes} changes of module'
    )


if __name__ == '__main__' and sys.argv[1:] == ['way']:
    print_way()
elif __name__ == '__main__':
    target = PACKAGE.parent / 'docs' / 'images' / 'architecture.svg'
    target.write_text(picture(), encoding='utf-8')
    print(f'{target} written')
    for rooms in FLOORS[::-1]:
        for room in filter(_exists, filter(None, rooms)):
            print(f'{room:16} {code_lines(room):5} lines of code')
