"""The run: regions, overlaps, no harm, resuming, reports."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_cascadepsp.cascade import Network, refine
from mmseg_cascadepsp.errors import (
    FileError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
)
from mmseg_cascadepsp.kernels import FEW_KERNELS

pytest.importorskip('pycocotools')
pytest.importorskip('shapely')

from mmseg_cascadepsp.annotations import AnnotationOptions, refine_annotations  # noqa: E402
from mmseg_cascadepsp.annotations.coco import CocoSet  # noqa: E402
from mmseg_cascadepsp.annotations.masks import cut_out, encode_rle  # noqa: E402
from mmseg_cascadepsp.annotations.objects import probabilities  # noqa: E402
from mmseg_cascadepsp.annotations.overlaps import give_way, settle_overlaps  # noqa: E402

from .sets import SIZE, SameColour, ToyRefiner, coarse, coco, disc, objects, photo, yolo  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


class Everywhere(Network):
    """Says the same of all pixels."""

    def __init__(self, logit):
        self.logit = logit

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        def passes(masks, strides):
            return dict.fromkeys(strides, torch.full_like(masks[:, :1], self.logit))

        return passes


@pytest.mark.parametrize('region', ['auto', 'object', 'photo'])
def test_regions_are_those_of_the_cascade(region):
    size = 200, 260
    masks = [coarse(disc(40, 40, 12, size)), coarse(disc(120, 160, 75, size))]
    image = photo(masks, size)
    refiner = ToyRefiner()
    refiner.cascade = refiner.cascade.replace(region=region, L=224)
    found = dict(probabilities(refiner, image, [cut_out(mask) for mask in masks]))
    for index, mask in enumerate(masks):
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        arguments = tensor, torch.from_numpy(mask)[None], refiner.cascade
        wanted = refine(refiner.network, *arguments).numpy()
        [(box, probability)] = found[index]
        in_region = region == 'object' or (region == 'auto' and index == 0)
        assert (probability.size < mask.size) == in_region
        np.testing.assert_allclose(probability, wanted[box.slices], atol=1e-5)


# Photos that fill the network's view, once for all masks; and smaller ones, three masks a batch.
@pytest.mark.parametrize('L, batches', [(100, [1]), (200, [3, 1])])
def test_objects_seen_in_the_whole_photo_share_what_depends_on_it_alone(L, batches):
    masks = [coarse(mask) for mask in (*objects(), disc(40, 64, 30))]
    image, calls = photo(masks[:3]), []

    class Counting(SameColour):
        def for_image(self, image):
            calls.append(len(image))
            return super().for_image(image)

    refiner = ToyRefiner(Counting())
    refiner.cascade = refiner.cascade.replace(region='photo', L=L, steps='global', overview=0)
    alone = [next(probabilities(refiner, image, [cut_out(mask)]))[1] for mask in masks]
    assert calls == [1] * 4
    calls.clear()
    found = dict(probabilities(refiner, image, [cut_out(mask) for mask in masks]))
    assert calls == batches
    for index, [(box, probability)] in enumerate(alone):
        assert found[index][0][0] == box
        np.testing.assert_array_equal(found[index][0][1], probability)


def test_objects_that_touch_the_border(tmp_path):
    mask = disc(0, 0, 30)
    _write(tmp_path, [mask], [coarse(mask)])
    report = _refine(tmp_path)
    assert report.of('refined')[0].iou < 1
    assert _masks(tmp_path)[0][5, 5] and abs(_masks(tmp_path)[0].sum() - mask.sum()) < 5


def _write(folder, true, drawn):
    (folder / 'photos').mkdir()
    Image.fromarray(photo(true)).save(folder / 'photos' / 'a.png')
    data = {
        'images': [{'id': 1, 'file_name': 'a.png', 'height': SIZE[0], 'width': SIZE[1]}],
        'annotations': [
            {
                'id': number,
                'image_id': 1,
                'category_id': 1,
                'segmentation': encode_rle(cut_out(mask), SIZE),
            }
            for number, mask in enumerate(drawn)
        ],
        'categories': [{'id': 1, 'name': 'x'}],
    }
    (folder / 'set.json').write_text(json.dumps(data))


def _refine(folder, refiner=None, **options):
    return refine_annotations(
        refiner or ToyRefiner(),
        folder / 'set.json',
        images=folder / 'photos',
        out=folder / 'out.json',
        **options,
    )


def _masks(folder):
    from pycocotools import mask as coco_masks

    data = json.loads((folder / 'out.json').read_text())
    return [coco_masks.decode(item['segmentation']) > 0 for item in data['annotations']]


def test_an_object_that_would_change_much_is_kept_and_listed(tmp_path):
    _write(tmp_path, [disc(40, 50, 20)], [disc(40, 50, 14)])
    report = _refine(tmp_path, max_change=0.5)
    [item] = report.objects
    assert item.status == 'kept' and 'change too much' in item.reason and item.proposal
    assert (tmp_path / 'out.json').read_bytes() == (tmp_path / 'set.json').read_bytes()
    report = _refine(tmp_path, max_change=1, overwrite=True)
    assert report.objects[0].status == 'refined'
    assert _masks(tmp_path)[0].sum() == pytest.approx(disc(40, 50, 20).sum(), rel=0.02)


@pytest.mark.parametrize(
    'logit, reason',
    [(-9, r'lose an object of \d+ pixels altogether'), (0.01, 'unsure')],
)
def test_nothing_is_lost_and_the_unsure_stay(logit, reason, tmp_path):
    _write(tmp_path, objects(), list(map(coarse, objects())))
    refiner = ToyRefiner(Everywhere(logit))
    report = _refine(tmp_path, refiner, max_change=1)
    assert len(report.of('kept')) == 3 and re.search(reason, report.objects[0].reason)
    assert (tmp_path / 'out.json').read_bytes() == (tmp_path / 'set.json').read_bytes()


def test_a_bound_of_the_refiner_is_not_ignored(tmp_path):
    _write(tmp_path, objects(), list(map(coarse, objects())))
    refiner = ToyRefiner()
    refiner.cascade = refiner.cascade.replace(max_change=0.1)
    with pytest.raises(ValueError, match='max_change=0.1, which is not looked at'):
        _refine(tmp_path, refiner)
    assert not (tmp_path / 'out.json').exists()


def test_where_hardly_any_gain_is_expected(tmp_path):
    nearly = disc(40, 50, 20)
    nearly[40, 71] = True
    _write(tmp_path, [disc(40, 50, 20)], [nearly])
    [item] = _refine(tmp_path).objects
    assert item.status == 'kept' and 'hardly any gain' in item.reason and item.proposal
    refiner = ToyRefiner()
    refiner.cascade = refiner.cascade.replace(keep_accurate=False)
    [item] = _refine(tmp_path, refiner, min_gain=0, overwrite=True).objects
    assert item.status == 'refined' and _masks(tmp_path)[0].sum() == nearly.sum() - 1


def test_outlines_that_lie_on_the_edges_stay(tmp_path):
    """Of two objects the first one's outline is that of the photo, but for a pixel."""
    truths = [disc(40, 30, 20), disc(40, 90, 20)]
    nearly = truths[0].copy()
    nearly[40, 51] = True
    _write(tmp_path, truths, [nearly, np.roll(truths[1], 4, axis=1)])
    items = _refine(tmp_path, min_gain=0).objects
    assert [item.status for item in items] == ['kept', 'refined']
    assert items[0].reason == "its boundary lies on the photo's edges already"
    assert (_masks(tmp_path)[0] == nearly).all() and (_masks(tmp_path)[1] == truths[1]).all()


def test_small_empty_and_full_objects_stay(tmp_path):
    tiny, full = disc(20, 20, 2), np.ones(SIZE, bool)
    _write(tmp_path, [tiny], [tiny, full, np.zeros(SIZE, bool)])
    report = _refine(tmp_path)
    reasons = [item.reason for item in report.objects]
    assert reasons[0] == 'smaller than 8 pixels'
    assert reasons[1] == 'it fills the photo' and reasons[2].startswith('empty')
    assert (tmp_path / 'out.json').read_bytes() == (tmp_path / 'set.json').read_bytes()


def test_two_that_claim_a_pixel():
    old = [np.zeros((4, 9), bool) for _ in range(3)]
    old[0][1:3, :3] = old[1][1:3, 6:] = old[2][1, :2] = True  # the third lies in the first
    new = [mask.copy() for mask in old]
    new[0][1:3, :6] = new[1][1:3, 3:] = new[2][1, :4] = True
    cut = [cut_out(mask) for mask in old], [cut_out(mask) for mask in new]
    likely = [
        np.full(mask.mask.shape, value)
        for mask, value in zip(cut[1], (0.6, 0.9, 0.8), strict=True)
    ]
    first, second, third = (mask.whole((4, 9)) for mask in settle_overlaps(*cut, likely))
    assert not (first & second).any() and (second == new[1]).all()
    assert (first[1:3, :3]).all() and (third[1, :3]).all() and (first & third).sum() == 3


def test_overlap_keep(tmp_path):
    drawn = [disc(40, 50, 20), disc(40, 52, 20)]
    _write(tmp_path, [disc(40, 51, 22)], drawn)
    report = _refine(tmp_path, overlap='keep')
    assert len(report.of('refined')) == 2
    first, second = _masks(tmp_path)
    assert (first == second).all()


def test_wrong_arguments(tmp_path):
    _write(tmp_path, [disc(40, 50, 20)], [disc(40, 50, 19)])
    for wrong in ({'max_change': 2}, {'overlap': 'x'}, {'simplify': -1}):
        with pytest.raises(InvalidValueError):
            AnnotationOptions(**wrong)
    with pytest.raises(InvalidTypeError, match='max_change'):
        _refine(tmp_path, max_chance=1)
    path = tmp_path / 'set.json'
    with pytest.raises(InvalidValueError, match='the set itself'):
        refine_annotations(ToyRefiner(), path, images=tmp_path / 'photos', out=path)
    with pytest.raises(InvalidValueError, match=r'report: .* HTML'):
        _refine(tmp_path, report=path)
    with pytest.raises(MissingFileError, match='truth: .*none.json does not exist'):
        _refine(tmp_path, truth=tmp_path / 'none.json')
    (tmp_path / 'true.json').write_text(path.read_text().replace('a.png', 'other.png'))
    with pytest.raises(InvalidValueError, match='truth: .*true.json has none of the photos'):
        _refine(tmp_path, truth=tmp_path / 'true.json')
    _refine(tmp_path)
    with pytest.raises(FileError, match='out: .*there already'):
        _refine(tmp_path, min_side=9)
    (tmp_path / 'out.json').rename(tmp_path / 'first.json')
    (tmp_path / 'page.html').write_text('mine')
    with pytest.raises(FileError, match='report: .*there already'):
        _refine(tmp_path, report=tmp_path / 'page.html')
    assert _refine(tmp_path, overwrite=True).of('refined')


def test_where_results_may_go(tmp_path):
    path, _ = yolo(tmp_path / 'in')
    with pytest.raises(InvalidValueError, match='lies in'):
        refine_annotations(ToyRefiner(), path, out=tmp_path / 'in' / 'refined')
    with pytest.raises(InvalidValueError, match='is a file'):
        refine_annotations(ToyRefiner(), path, out=path)
    out = tmp_path / 'out'
    refine_annotations(ToyRefiner(), path, out=out, dry_run=True)
    with pytest.raises(FileError, match='there already'):
        refine_annotations(ToyRefiner(), path, out=out)
    assert refine_annotations(ToyRefiner(), path, out=out, overwrite=True).of('refined')
    path, images = coco(tmp_path / 'in')
    with pytest.raises(InvalidValueError, match='is a folder'):
        refine_annotations(ToyRefiner(), path, images=images, out=out)


@pytest.mark.parametrize('make', [coco, yolo])
def test_a_finished_run_has_nothing_to_do(make, tmp_path):
    (tmp_path / 'in').mkdir()
    path, images = make(tmp_path / 'in')
    out = tmp_path / f'out{path.suffix if path.suffix == ".json" else ""}'
    page = tmp_path / 'page.html'

    def run(refiner=None, **options):
        options = {'images': images, 'out': out, 'report': page, 'truth': path, **options}
        return refine_annotations(refiner or ToyRefiner(), path, **options)

    def files():
        found = [out, page, *out.rglob('*')]
        return {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in found}

    first, before = run(), files()
    again = run(Stopping(0))  # would be interrupted by any work
    assert again.was_there and not first.was_there and files() == before
    assert again.told() == first.told() and len(again.objects) == len(first.objects)
    assert [item.iou for item in again.objects] == [item.iou for item in first.objects]
    assert all(item.geometry is None for item in again.objects)
    with pytest.raises(FileError, match='there already'):  # another command
        run(simplify=1)
    photo_path = next((tmp_path / 'in').rglob('b.png'))
    label = path if path.suffix == '.json' else next((tmp_path / 'in').rglob('b.txt'))
    for file in (photo_path, label, next(iter([*out.rglob('b.txt'), out])), page):
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        os.utime(file, ns=(times[0], times[1] + 1))
        with pytest.raises(FileError, match='there already'):
            run()
        os.utime(file, ns=times)
    assert run().was_there and files() == before
    assert not run(overwrite=True).was_there


def test_a_photo_changed_since_the_interruption_is_done_anew(tmp_path, monkeypatch):
    path, images = coco(tmp_path)
    out, whole = tmp_path / 'out.json', tmp_path / 'whole.json'
    with monkeypatch.context() as full:  # all photos are done, and the result is not
        full.setattr(CocoSet, 'write', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            refine_annotations(ToyRefiner(), path, images=images, out=out)
    Image.fromarray(photo(objects())[:, ::-1].copy()).save(images / 'b.png')
    (images / 'straße/夏 1.png').rename(tmp_path / 'gone.png')  # is done, and not looked at again
    all_of_it, rest = Stopping(100), Stopping(100)
    refine_annotations(rest, path, images=images, out=out)
    (tmp_path / 'gone.png').rename(images / 'straße/夏 1.png')
    refine_annotations(all_of_it, path, images=images, out=whole)
    assert out.read_bytes() == whole.read_bytes()
    assert all_of_it.left < rest.left < 100


def test_a_changed_set_begins_anew(tmp_path):
    path, _ = yolo(tmp_path / 'in')
    out = tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        refine_annotations(Stopping(3), path, out=out)
    label = path.parent / 'labels' / 'train' / 'été.txt'
    first = label.read_bytes().splitlines(keepends=True)[0]
    label.write_bytes(first)
    report = refine_annotations(ToyRefiner(), path, out=out)
    assert len(report.objects) == 1 + 2


class Stopping(ToyRefiner):
    """Stops as Ctrl-C does after some photos."""

    def __init__(self, photos):
        super().__init__()
        self.left, network = photos, self.network

        class Counting(type(network)):
            def normalize(own, image):
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                return super().normalize(image)

        self.network = Counting()


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    path, images = coco(tmp_path)
    whole, out = tmp_path / 'whole.json', tmp_path / 'out.json'
    refine_annotations(ToyRefiner(), path, images=images, out=whole)
    with pytest.raises(KeyboardInterrupt):
        refine_annotations(Stopping(3), path, images=images, out=out)
    journal = tmp_path / '.out.json.partial' / '0.jsonl'
    lines = journal.read_bytes().splitlines()
    assert len(lines) == 2 and not out.exists()  # its head and the first photo
    journal.write_bytes(journal.read_bytes() + lines[1][:50])  # killed while it wrote
    left = Stopping(100)
    with monkeypatch.context() as full:  # all photos are done, and the result is not
        full.setattr(CocoSet, 'write', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            refine_annotations(left, path, images=images, out=out)
    report = refine_annotations(left, path, images=images, out=out)
    assert out.read_bytes() == whole.read_bytes() and len(report.objects) == 7
    assert not journal.parent.exists()
    with pytest.raises(KeyboardInterrupt):  # other settings: nothing is taken
        refine_annotations(Stopping(3), path, images=images, out=tmp_path / 'b.json')
    refine_annotations(ToyRefiner(), path, images=images, out=tmp_path / 'b.json', simplify=2)
    assert (tmp_path / 'b.json').read_bytes() != whole.read_bytes()


SCRIPT = """
import sys
from sets import ToyRefiner
from mmseg_cascadepsp.annotations import refine_annotations
print('ready', flush=True)
refine_annotations(
    ToyRefiner(), sys.argv[1], images=sys.argv[2], out=sys.argv[3], report=sys.argv[4]
)
"""


def _many(folder, photos):
    """A set of so many photos, of four objects each."""
    path, images = coco(folder)
    data = json.loads(path.read_text())
    known, entries = data['images'], data['annotations'][:4]
    data['images'] = [{**known[n % 2], 'id': n} for n in range(photos)]
    data['annotations'] = [
        {**entries[n % 4], 'id': n, 'image_id': n // 4} for n in range(4 * photos)
    ]
    path.write_text(json.dumps(data))
    return path, images


def _start(arguments):
    process = subprocess.Popen(
        [sys.executable, '-c', SCRIPT, *map(str, arguments)],
        cwd=ROOT,
        env={
            **os.environ,
            'PYTHONPATH': f'{ROOT}:{Path(__file__).parent}',
            'OMP_NUM_THREADS': '1',
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    return process


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """KILLS=50 does it as often as a release asks for."""
    path, images = _many(tmp_path, 60)
    whole, out = tmp_path / 'whole.json', tmp_path / 'out.json'
    start = time.perf_counter()
    assert _start([path, images, whole, tmp_path / 'whole.html']).wait() == 0
    seconds = time.perf_counter() - start
    chance = random.Random(int(os.environ.get('SEED', 1)))
    kills = int(os.environ.get('KILLS', 3))
    killed, page = 0, tmp_path / 'out.html'
    while killed < kills:
        out.unlink(missing_ok=True)
        page.unlink(missing_ok=True)
        while True:
            process = _start([path, images, out, page])
            try:
                process.wait(chance.uniform(0, seconds / 3))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            assert process.returncode == 0
            break
        assert out.read_bytes() == whole.read_bytes()
        assert page.read_bytes() == (tmp_path / 'whole.html').read_bytes()
        assert not (tmp_path / '.out.json.partial').exists()


SHARED = """
import os, signal, sys
from mmseg_cascadepsp.files.folder_run import join_processes
rank, world = join_processes()
assert world == 2
from sets import ToyRefiner
from mmseg_cascadepsp.annotations import journal, refine_annotations
add = journal.Journal.add
def dying(self, *what):
    add(self, *what)
    if rank and sys.argv[4] == 'die':
        os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.add = dying
report = refine_annotations(ToyRefiner(), sys.argv[1], images=sys.argv[2], out=sys.argv[3])
assert len(report.objects) == 4 * 8, report
"""


@pytest.mark.slow
def test_two_processes_share_the_photos_and_one_may_die(tmp_path):
    path, images = _many(tmp_path, 8)
    whole, out = tmp_path / 'whole.json', tmp_path / 'out.json'
    refine_annotations(ToyRefiner(), path, images=images, out=whole)
    script = tmp_path / 'script.py'
    script.write_text(SHARED)
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', '2', script, path, images, out]
    path = f'{ROOT}:{Path(__file__).parent}'
    environment = {**os.environ, **FEW_KERNELS, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}

    def run(how):
        whole_command = [*map(str, command), how]
        return subprocess.run(whole_command, env=environment, cwd=ROOT, timeout=300).returncode

    assert run('die') != 0 and not out.exists()
    assert len((tmp_path / '.out.json.partial/1.jsonl').read_bytes().splitlines()) == 2
    assert run('live') == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / '.out.json.partial').exists()


SETS = """
import os, sys
from mmseg_cascadepsp.cli import annotations

def stop():
    print('torch' in sys.modules, os.environ['LRU_CACHE_CAPACITY'])
    sys.exit()

annotations.import_package = stop
annotations.main(['set.json', '-o', 'out.json'])
"""


def test_the_command_keeps_few_kernels_before_torch_reads_it():
    run = subprocess.run([sys.executable, '-c', SETS], check=True, stdout=subprocess.PIPE)
    assert run.stdout.split() == [b'False', FEW_KERNELS['LRU_CACHE_CAPACITY'].encode()]


MEMORY = """
import sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from sets import SameColour, ToyRefiner, coarse, disc
from mmseg_cascadepsp.annotations import journal, refine_annotations
from mmseg_cascadepsp.compat.memory import keep_freed_memory

class Convolving(SameColour):
    convs = [torch.nn.Conv2d(3, 3 + n, 3, padding=1) for n in range(30)]

    def for_image(self, image):
        passes = super().for_image(image)

        def run(masks, strides):
            x = masks
            for conv in self.convs:  # as many as a network has
                x = conv(x)[:, :3]
            return passes(masks, strides)

        return run


folder, size, rng = Path(sys.argv[1]), (400, 560), np.random.default_rng(0)
for name in 'photos', 'labels':
    (folder / name).mkdir()
for number in range(24):
    image, labels = np.full((*size, 3), 20, np.uint8), np.zeros(size, np.uint8)
    for value in range(1, 4):
        y, x, radius = rng.integers(80, 320), rng.integers(80, 480), rng.integers(10, 100)
        mask = disc(y, x, radius, size)
        image[mask] = rng.integers(60, 255, 3)
        labels[coarse(mask)] = value
    Image.fromarray(image).save(folder / 'photos' / f'{number}.png')
    Image.fromarray(labels).save(folder / 'labels' / f'{number}.png')
keep_freed_memory()
add = journal.Journal.add
def noted(self, *what):
    add(self, *what)
    print(int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20, flush=True)
journal.Journal.add = noted
refiner = ToyRefiner(Convolving())
refiner.cascade = refiner.cascade.replace(L=320)
paths = {'images': folder / 'photos', 'out': folder / 'out', 'report': folder / 'r.html'}
refine_annotations(refiner, folder / 'labels', **paths)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='Linux tells it there')
def test_memory_is_flat_over_the_run(tmp_path):
    environment = {**os.environ, **FEW_KERNELS, 'PYTHONPATH': f'{ROOT}:{Path(__file__).parent}'}
    command = [sys.executable, '-W', 'ignore', '-c', MEMORY, str(tmp_path)]
    run = subprocess.run(command, check=True, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    pages = [float(line) for line in run.stdout.split()]  # of the process, in MB
    assert len(pages) == 24
    assert pages[-1] < pages[0] + 130, pages  # with the kernels of 1,024 shapes: 230 to 280


def test_scores_against_a_truth(tmp_path):
    path, images = coco(tmp_path)
    data = json.loads(path.read_text())
    truth = {**data, 'annotations': data['annotations'][:2]}
    for item, mask in zip(truth['annotations'], objects(), strict=False):
        item['segmentation'] = encode_rle(cut_out(mask), SIZE)
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    report = refine_annotations(
        ToyRefiner(),
        path,
        images=images,
        out=tmp_path / 'out.json',
        truth=tmp_path / 'truth.json',
        report=tmp_path / 'report.html',
    )
    assert set(report.scores) == {'IoU', 'mBA', 'Boundary IoU', 'AP', 'boundary AP'}
    for name, (before, after) in report.scores.items():
        assert after > before + 3, name
    assert report.scores['IoU'][1] > 95
    page = (tmp_path / 'report.html').read_text()
    assert 'boundary AP' in page and page.count('<figure') == 4


def test_in_maps_an_object_holds_what_it_had():
    old = [np.zeros((4, 9), bool) for _ in range(3)]
    old[0][:, :4] = old[1][:, 5:8] = old[2][:, 8:] = True
    new = [mask.copy() for mask in old]
    new[0][:, 3:9] = True  # over all the others
    new[1][:, 4] = True
    new[1][:, 7] = False  # given up
    cut = [cut_out(mask) for mask in old], [cut_out(mask) for mask in new]
    likely = [np.full(mask.mask.shape, p) for mask, p in zip(cut[1], (0.9, 0.6, 1), strict=True)]
    free = np.zeros((4, 9), bool)
    free[:, 4] = True
    found = give_way(*cut, likely, [True, True, False], free)
    first, second, third = (mask.whole((4, 9))[0].astype(int).tolist() for mask in found)
    assert first == [1, 1, 1, 1, 1, 0, 0, 1, 0]
    assert second == [0, 0, 0, 0, 0, 1, 1, 0, 0] and third == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    # Swallowed altogether: it stays as it was.
    new[1][:] = False
    new[1][:, 4] = True
    cut = [cut_out(mask) for mask in old], [cut_out(mask) for mask in new]
    likely = [np.full(mask.mask.shape, p) for mask, p in zip(cut[1], (0.9, 0.6, 1), strict=True)]
    found = give_way(*cut, likely, [True, True, False], free)
    assert found[1].whole((4, 9))[0].astype(int).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0]
    assert not (found[0].whole((4, 9)) & found[1].whole((4, 9))).any()


def test_in_maps_without_ground_the_surest_takes_a_pixel_and_the_rest_stays():
    # Columns of 1, 2 (kept) and 3: 1 takes of 2, gives up what 3 claims and what nobody does.
    old = [np.zeros((4, 9), bool) for _ in range(3)]
    old[0][:, :3] = old[1][:, 3:6] = old[2][:, 6:] = True
    new = [mask.copy() for mask in old]
    new[0][:, 0] = new[0][0] = False
    new[0][1:, 3:5] = True
    new[2][0, 2] = new[2][:, 4:6] = True
    cut = [cut_out(mask) for mask in old], [cut_out(mask) for mask in new]
    likely = [np.full(mask.mask.shape, p) for mask, p in zip(cut[1], (0.8, 1, 0.9), strict=True)]
    free = np.zeros((4, 9), bool)
    found = give_way(*cut, likely, [True, False, True], free, complete=True)
    first, _, third = (mask.whole((4, 9)).astype(int).tolist() for mask in found)
    assert first == [[1, 1, 0, 0, 0, 0, 0, 0, 0], *[[1, 1, 1, 1, 0, 0, 0, 0, 0]] * 3]
    assert third == [[0, 0, 1, 0, 1, 1, 1, 1, 1], *[[0, 0, 0, 0, 1, 1, 1, 1, 1]] * 3]
    new[2][:, 3:6] = True  # would swallow the second
    cut = cut[0], [cut_out(mask) for mask in new]
    likely = [np.full(mask.mask.shape, p) for mask, p in zip(cut[1], (0.8, 1, 0.9), strict=True)]
    found = give_way(*cut, likely, [True, False, True], free, complete=True)
    assert not any((mask.whole((4, 9)) & old[1]).any() for mask in (found[0], found[2]))
