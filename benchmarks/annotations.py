"""Annotation sets against single masks: gains through the file, harm, time per object, memory.

    python benchmarks/annotations.py gains --root val --limit 60
    python benchmarks/annotations.py harm --root val
    python benchmarks/annotations.py time --root val --photos 4
    python benchmarks/annotations.py memory --root val --photos 100
    python benchmarks/annotations.py map --root val

ROOT has a folder for every set, with images, masks and coarse masks of the same names.
"""

import argparse
import json
import random
import re
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.annotations import (
    AnnotationOptions,
    AnnotationRun,
    refine_annotations,
    refined_photos,
)
from mmseg_cascadepsp.annotations.masks import best_rings, cut_out, decode_rle, draw, encode_rle
from mmseg_cascadepsp.cascade.regions import SHARE_OF_MANY, are_small, object_regions
from mmseg_cascadepsp.compat.memory import keep_freed_memory
from mmseg_cascadepsp.evaluation import label_scores, mask_harm, mask_scores
from mmseg_cascadepsp.files import read_image, read_mask, write_image


def find(root, limit, seed=0):
    """(photo, coarse mask, true mask) of paths, in an order that is the same for everyone."""
    found = []
    for coarse in sorted(Path(root).glob('*/coarse*/*.png')):
        base = coarse.parents[1]
        photos = list((base / 'images').glob(f'{coarse.stem}.*'))
        true = base / 'masks' / coarse.name
        if photos and true.is_file():
            found.append((photos[0], coarse, true))
    random.Random(seed).shuffle(found)
    return found[:limit]


def write_set(folder, pictures, polygons):
    """A COCO file of (photo, masks) and its photos."""
    images, entries = [], []
    for number, (photo, masks) in enumerate(pictures):
        size = photo.shape[:2]
        write_image(folder / 'photos' / f'{number}.png', photo)
        images.append(
            {'id': number, 'file_name': f'{number}.png', 'height': size[0], 'width': size[1]}
        )
        for mask in masks:
            if polygons:
                rings, _ = best_rings(cut_out(mask), size, 'pycocotools', 0, False)
                outline = [ring.ravel().tolist() for ring in rings]
            else:
                outline = encode_rle(cut_out(mask), size)
            entries.append(
                {
                    'id': len(entries),
                    'image_id': number,
                    'category_id': 1,
                    'segmentation': outline,
                    'iscrowd': 0,
                }
            )
    data = {'images': images, 'annotations': entries, 'categories': [{'id': 1, 'name': 'x'}]}
    (folder / 'set.json').write_text(json.dumps(data))


def read_set(path, sizes):
    """The masks of a COCO file."""
    found = []
    for item in json.loads(path.read_text())['annotations']:
        outline, size = item['segmentation'], sizes[item['image_id']]
        if isinstance(outline, dict):
            found.append(decode_rle(outline).whole(size))
        else:
            rings = [np.reshape(ring, (-1, 2)) for ring in outline]
            found.append(draw(rings, size, 'pycocotools'))
    return found


def through_file(refiner, pictures, polygons, **options):
    """The masks that come out of a set of the pictures, the report, and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_set(folder, pictures, polygons)
        start = time.process_time()
        report = refine_annotations(
            refiner,
            folder / 'set.json',
            images=folder / 'photos',
            out=folder / 'out.json',
            **options,
        )
        seconds = time.process_time() - start
        masks = read_set(folder / 'out.json', [photo.shape[:2] for photo, _ in pictures])
    return masks, report, seconds


def mosaic(samples, side, columns):
    """Photos scaled into the cells of one: the photo, its coarse and its true masks."""
    rows = -(-len(samples) // columns)
    cell = side // columns
    photo = np.zeros((rows * cell, columns * cell, 3), np.uint8)
    coarse, true = [], []
    for index, (image, mask, target) in enumerate(samples):
        scale = cell / max(image.shape[:2])
        size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        top, left = index // columns * cell, index % columns * cell
        place = slice(top, top + size[1]), slice(left, left + size[0])
        photo[place] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for masks, part in ((coarse, mask), (true, target)):
            whole = np.zeros(photo.shape[:2], bool)
            small = cv2.resize(part.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
            whole[place] = small > 127
            masks.append(whole)
    keep = [i for i, mask in enumerate(coarse) if mask.any() and true[i].any()]
    return photo, [coarse[i] for i in keep], [true[i] for i in keep]


def load(paths):
    """Photo, coarse and true mask, bool."""
    photo, coarse, true = paths
    return read_image(photo), read_mask(coarse) > 127, read_mask(true) > 127


def show(name, masks, coarse, true, extra=''):
    before, after = mask_scores(coarse, true), mask_scores(masks, true)
    harm = mask_harm(coarse, masks, true)
    print(
        f'{name:34} IoU {100 * (after["IoU_per_image"] - before["IoU_per_image"]):+6.2f}  '
        f'mBA {100 * (after["mBA"] - before["mBA"]):+6.2f}  '
        f'lose > 0.5: {harm["harmed_0.5"]:6.1%}  {extra}',
        flush=True,
    )


def as_in_sets(refiner, photo, mask):
    """The mask refined by itself, in the region that it has in a set of annotations."""
    boxes, L = object_regions(mask), refiner.cascade.L
    small = boxes and are_small(boxes, mask.shape, L, SHARE_OF_MANY)
    refiner = refiner.with_settings(region='object' if small else 'photo')
    return refiner.refine(photo, mask) > 127


def gains(args, refiner):
    """Gains of masks refined one by one and through a file, as run lengths and as polygons."""
    samples = [load(paths) for paths in find(args.root, args.limit)]
    samples = [s for s in samples if s[1].any() and not s[1].all()]
    coarse, true = [s[1] for s in samples], [s[2] for s in samples]
    show('Refiner.refine', [refiner.refine(*s[:2]) > 127 for s in samples], coarse, true)
    single = [as_in_sets(refiner, *s[:2]) for s in samples]
    show('Refiner.refine, same regions', single, coarse, true)
    pictures = [(photo, [mask]) for photo, mask, _ in samples]
    none = dict(max_change=1, min_sureness=0, min_gain=0)
    regions = refiner.with_settings(region='object')
    for name, polygons, own in (
        ('run lengths, nothing kept', False, refiner),
        ('polygons, nothing kept', True, refiner),
        ("run lengths, region='object'", False, regions),
    ):
        masks, _, seconds = through_file(own, pictures, polygons, **none)
        show(name, masks, coarse, true, f'{seconds:.0f} s')
    fours = [mosaic(samples[i : i + 4], 1280, 2) for i in range(0, len(samples) - 3, 4)]
    coarse, true = [m for f in fours for m in f[1]], [m for f in fours for m in f[2]]
    pictures = [four[:2] for four in fours]
    print('mosaics of four:')
    single = [as_in_sets(refiner, four[0], mask) for four in fours for mask in four[1]]
    show('Refiner.refine, same regions', single, coarse, true)
    masks, _, seconds = through_file(refiner, pictures, False, **none)
    show('run lengths, nothing kept', masks, coarse, true, f'{seconds:.0f} s')


def harm(args, refiner):
    """What limits of change and sureness cost and save."""
    samples = [load(paths) for paths in find(args.root, args.limit)]
    samples = [s for s in samples if s[1].any() and not s[1].all()]
    coarse, true = [s[1] for s in samples], [s[2] for s in samples]
    pictures = [(photo, [mask]) for photo, mask, _ in samples]
    masks, report, _ = through_file(
        refiner, pictures, False, max_change=1, min_sureness=0, min_gain=0
    )
    change = np.array([1 - (item.iou or 0) for item in report.objects])
    sure = np.array([item.sureness or 0 for item in report.objects])
    print(f'largest change {change.max():.3f}, least sureness {sure.min():.3f}')
    for title, values in (('min_gain', sure * change), ('min_sureness', sure)):
        for limit in (0, 0.01, 0.015, 0.02, 0.025, 0.03) if title == 'min_gain' else (0.4, 0.5):
            kept = values < limit
            mixed = [c if k else m for c, m, k in zip(coarse, masks, kept, strict=True)]
            show(f'{title} {limit}', mixed, coarse, true, f'{kept.mean():.1%} kept')


def measure_time(args, refiner):
    """Processor seconds per object on photos of 1,024 pixels with ten objects each."""
    paths = find(args.root, None)
    paths = [p for p in paths if p[1].parent.name == 'coarse_simulated']
    samples = [load(p) for p in paths[: 10 * args.photos]]
    photos = [mosaic(samples[i : i + 10], 1024, 4) for i in range(0, len(samples), 10)]
    pictures = [photo[:2] for photo in photos]
    count = sum(len(masks) for _, masks in pictures)
    refiner.refine(*[(p, m[0]) for p, m in pictures][0])  # warm
    _, report, seconds = through_file(refiner, pictures, True)
    print(f'{report}')
    print(f'set: {count} objects on {len(pictures)} photos, {seconds / count:.2f} s an object')
    for name, other in (('photo', refiner.with_settings(region='photo')), ('auto', refiner)):
        single = [(photo, mask) for photo, masks in pictures for mask in masks][: args.single]
        start = time.process_time()
        for photo, mask in single:
            other.refine(photo, mask)
        each = (time.process_time() - start) / len(single)
        print(
            f"Refiner.refine, region='{name}': {each:.2f} s an object ({len(single)}), "
            f'{each / (seconds / count):.1f} times as long'
        )
    print(f'peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB')


def measure_memory(args, refiner):
    """Time and memory after every tenth of photos of 1,024 pixels with ten objects each."""
    paths = [p for p in find(args.root, None) if p[1].parent.name == 'coarse_simulated']
    chosen = random.Random(1)
    pictures = (
        mosaic([load(p) for p in chosen.sample(paths, 10)], 1024, 4)[:2]
        for _ in range(args.photos)
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_set(folder, pictures, True)
        keep_freed_memory()  # as the command does
        run = AnnotationRun(
            refiner.settings(),
            folder / 'set.json',
            folder / 'out.json',
            AnnotationOptions(images=folder / 'photos', report=folder / 'report.html'),
        )
        Path('/proc/self/clear_refs').write_text('5')  # the peak begins here
        start = time.perf_counter(), time.process_time()

        def tell(*done):
            status = Path('/proc/self/status').read_text()
            now, peak = (
                int(re.search(rf'{name}:\s+(\d+)', status)[1]) >> 10 for name in ('VmRSS', 'VmHWM')
            )
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            print(*done, f'{wall:.0f} s, {cpu:.0f} s of CPU, {now} MB, peak {peak} MB', flush=True)

        def told():
            objects, done = 0, refined_photos(refiner, run.source, run.todo, run.options)
            for number, found in enumerate(done, 1):
                yield found
                objects += len(found[1])
                if number * 10 // args.photos > (number - 1) * 10 // args.photos:
                    tell(f'{number} photos, {objects} objects:')

        run.take(told())
        tell(f'{run.finish()}:')


def measure_map(args, refiner):
    """A map with a place on earth through the file: gains, beside those of ``refine_semantic``."""
    import pyogrio
    import rasterio
    import shapely
    from rasterio.features import rasterize

    cell, columns = 500, 3
    side = cell * columns
    photo = np.zeros((side, side, 3), np.uint8)
    maps = np.zeros((2, side, side), np.uint8)
    paths = [p for p in find(args.root, None) if p[1].parent.name != 'coarse_simulated']
    samples = (load(p) for p in paths)
    samples = (s for s in samples if min(s[0].shape[:2]) >= cell // 2)
    for index, sample in zip(range(columns**2), samples, strict=False):
        scale = cell / min(sample[0].shape[:2])
        size = [max(cell, round(length * scale)) for length in sample[0].shape[1::-1]]
        grey = [sample[0], *(np.uint8(mask) * 255 for mask in sample[1:])]
        parts = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in grey]
        top, left = (size[1] - cell) // 2, (size[0] - cell) // 2
        image, *masks = (part[top : top + cell, left : left + cell] for part in parts)
        row, column = index // columns * cell, index % columns * cell
        place = slice(row, row + cell), slice(column, column + cell)
        photo[place] = image
        for labels, mask in zip(maps, masks, strict=True):  # an object on its ground
            labels[place] = np.where(mask > 127, index % 4, 4 + index % 3)
    coarse, true = maps
    profile = {'driver': 'GTiff', 'height': side, 'width': side, 'dtype': 'uint8'}
    profile |= {'crs': 'EPSG:25832', 'transform': rasterio.Affine(0.1, 0, 7e5, 0, -0.1, 5e6)}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, values in (('photo', np.moveaxis(photo, -1, 0)), ('map', coarse[None])):
            with rasterio.open(folder / f'{name}.tif', 'w', count=len(values), **profile) as file:
                file.write(values)
        start = time.process_time()
        out = folder / 'out.gpkg'
        report = refine_annotations(
            refiner, folder / 'map.tif', images=folder / 'photo.tif', out=out
        )
        seconds = time.process_time() - start
        _, _, shapes, [ids] = pyogrio.raw.read(out)
    shapes = shapely.from_wkb(shapes)
    print(f'{report}; {len(shapes)} polygons, a coverage: {shapely.coverage_is_valid(shapes)}')
    found = rasterize(
        zip(shapes, ids.tolist(), strict=True), true.shape, 255, transform=profile['transform']
    )
    results = {f'through the file, {seconds:.0f} s': found}
    start = time.process_time()
    semantic = refiner.refine_semantic(photo, coarse.astype(np.int32))
    results[f'refine_semantic, {time.process_time() - start:.0f} s'] = semantic
    cells = [
        np.s_[top : top + cell, left : left + cell]
        for top in range(0, side, cell)
        for left in range(0, side, cell)
    ]
    scores = {
        name: label_scores([labels[c] for c in cells], [true[c] for c in cells], 7)
        for name, labels in {'coarse': coarse, **results}.items()
    }
    for name in results:
        gains = {key: 100 * (scores[name][key] - scores['coarse'][key]) for key in scores[name]}
        print(f'{name:34}', '  '.join(f'{key} {gain:+.2f}' for key, gain in gains.items()))


MEASURES = {
    'gains': gains,
    'harm': harm,
    'time': measure_time,
    'memory': measure_memory,
    'map': measure_map,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=MEASURES)
    parser.add_argument('--root', required=True, help='folder of sets')
    parser.add_argument('--limit', type=int, help='masks at most (default: all)')
    parser.add_argument('--photos', type=int, default=4, help='photos of time and memory')
    parser.add_argument('--single', type=int, default=10, help='masks refined one by one there')
    parser.add_argument('--threads', type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    refiner = Refiner('lite')
    print(refiner, f'{torch.get_num_threads()} threads', flush=True)
    MEASURES[args.what](args, refiner)


if __name__ == '__main__':
    main()
