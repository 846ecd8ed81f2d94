"""Small objects in a large photo: what refining does to masks of 12 to 120 pixels.

    python benchmarks/small_objects.py --root val
    python benchmarks/small_objects.py --root val --kind photos --sides 24 60 --region photo

ROOT has a folder for every set, with images, masks and coarse masks of the same names. Two kinds
of pictures of 2048 x 1536 are made of them, always the same ones:

    objects   the object is cut out along its true mask, shrunk, and put on another photo. Its
              coarse mask is bent and averaged over cells of a sixth of its side.
    photos    the whole photo is shrunk and put there, with its coarse mask, so that most of the
              mask's error lies below one pixel.
"""

import argparse
import random
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.datasets import SimulateOutputStride
from mmseg_cascadepsp.evaluation import mask_scores
from mmseg_cascadepsp.files import read_image, read_mask

HEIGHT, WIDTH = 1536, 2048


def find(root, seed=0):
    """(photo, true mask, coarse mask) of paths, in an order that is the same for everyone."""
    found = []
    for coarse in sorted(Path(root).glob('*/coarse*/*.png')):
        base = coarse.parents[1]
        photos = list((base / 'images').glob(f'{coarse.stem}.*'))
        if photos and (base / 'masks' / coarse.name).is_file():
            found.append((photos[0], base / 'masks' / coarse.name, coarse))
    random.Random(seed).shuffle(found)
    return found


def covering(photo):
    """A photo that is resized until it covers the picture, and cut to it."""
    height, width = photo.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale))
    return cv2.resize(photo, size, interpolation=way)[:HEIGHT, :WIDTH].copy()


def shrunk(array, scale):
    """Averages over the pixels that become one, float32."""
    size = [max(2, round(side * scale)) for side in array.shape[1::-1]]
    return cv2.resize(array.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def picture(paths, background, side, kind, rng):
    """(photo, coarse mask, true mask) with an object of ``side`` pixels, or None."""
    photo, true, coarse = read_image(paths[0]), read_mask(paths[1]) > 127, read_mask(paths[2])
    coarse = coarse > 127
    of = true if kind == 'objects' else coarse
    if not of.any():
        return None
    rows, columns = (np.flatnonzero(of.any(axis)) for axis in (1, 0))
    scale = side / max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    if kind == 'objects':
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        photo, true = photo[box], true[box]
    if scale >= 1 or scale * max(photo.shape[:2]) > 1000:
        return None
    alpha = shrunk(true, scale)
    height, width = alpha.shape
    top, left = (
        int(rng.integers(150, whole - own - 150))
        for whole, own in ((HEIGHT, height), (WIDTH, width))
    )
    place = slice(top, top + height), slice(left, left + width)
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[1][place] = alpha > 0.5
    if kind == 'objects':
        opaque = shrunk(photo * true[..., None].astype(np.float32), scale)
        background[place] = background[place] * (1 - alpha[..., None]) + opaque
        around = tuple(slice(max(0, part.start - side), part.stop + side) for part in place)
        np.random.seed(rng.integers(2**31))
        cells = max(2.0, side / 9), max(2.5, side / 4.5)
        bend = SimulateOutputStride(stride=cells, displacement=0.7, noise=0.15)
        whole = masks[1][around].astype(np.uint8) * 255
        masks[0][around] = bend.transform(dict(gt_seg_map=whole))['coarse_mask'] > 127
    else:
        background[place] = shrunk(photo, scale)
        masks[0][place] = shrunk(coarse, scale) > 0.5
    return (background, *masks) if masks[0].any() and masks[1].any() else None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--root', required=True, help='folder of sets')
    parser.add_argument('--kind', choices=('objects', 'photos'), help='one of them alone')
    parser.add_argument('--sides', type=int, nargs='+', default=[12, 24, 48, 120])
    parser.add_argument('--limit', type=int, default=30, help='pictures of a kind and side')
    parser.add_argument('--model', default='lite')
    parser.add_argument('--region', default='auto', help='the setting of the refiner')
    parser.add_argument('--threads', type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    refiner = Refiner(args.model, region=args.region)
    samples = find(args.root)
    backgrounds = [covering(read_image(paths[0])) for paths in samples[:8]]
    for kind in (args.kind,) if args.kind else ('objects', 'photos'):
        for side in args.sides:
            scores = []
            for paths in samples[8:]:
                rng = np.random.default_rng(zlib.crc32(f'{paths[2].name} {side}'.encode()))
                background = backgrounds[rng.integers(len(backgrounds))].copy()
                made = picture(paths, background, side, kind, rng)
                if made is None:
                    continue
                photo, coarse, true = made
                refined = refiner.refine(photo, coarse) > 127
                pair = [mask_scores([mask], [true]) for mask in (coarse, refined)]
                scores.append([each[name] for name in ('IoU', 'mBA') for each in pair])
                if len(scores) == args.limit:
                    break
            table = 100 * np.array(scores)
            before, after, old, new = table.mean(0)
            print(
                f'{kind} of {side:4d} pixels, {len(table)}: IoU {before:.1f} -> {after:.1f}, mBA '
                f'{old:.1f} -> {new:.1f}, worse {(table[:, 1] < table[:, 0] - 0.5).sum()}, lost '
                f'{(table[:, 1] == 0).sum()}',
                flush=True,
            )


if __name__ == '__main__':
    main()
