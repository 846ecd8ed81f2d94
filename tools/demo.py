"""Refine the sample photos: python tools/demo.py"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.config import Config

from mmseg_cascadepsp import Refiner  # first: MMSeg then imports without mmcv's operators

# isort: split
from mmseg.apis import inference_model, init_model

from mmseg_cascadepsp.evaluation.functional import binary_iou, mean_boundary_accuracy
from mmseg_cascadepsp.files.reading import read_mask, write_image
from mmseg_cascadepsp.models.refiner.zoo import find_config
from mmseg_cascadepsp.visualization import before_after

try:
    import resource
except ImportError:  # Windows
    resource = None

MASKS = Path(__file__).resolve().parents[1] / 'demo' / 'masks'
PHOTOS = {
    'astronaut': 'astronaut',
    'chelsea': 'chelsea',
    'coffee': 'coffee',
    'rocket': 'rocket',
    'motorcycle': 'stereo_motorcycle',
}
"""Name -> function of skimage.data."""
CHAIN = 'deeplabv3plus_refined_persons-cats-horses.py'
CHAINED = {'astronaut': 'person', 'chelsea': 'cat'}
"""Photo -> what the segmentor of the chain should find on it."""
SMALL, LARGE = 'motorcycle', 'astronaut'
"""The photos of the run with a small L and of the enlarged one."""
HEADER = (
    f'{"photo":36}{"size":>11}{"seconds":>9}{"IoU before":>13} -> after{"mBA before":>13} -> after'
)
EPILOG = """examples:
  python tools/demo.py
      five photos of scikit-image with the masks in demo/masks; pictures go to demo_output/
  python tools/demo.py --photos coffee chelsea --large 0 --out /tmp/pictures
      two of them, without the enlarged one
  python tools/demo.py --refiner r50
      the same with the paper's network (fetched once; minutes per photo on a CPU)

what the columns say:
  IoU   of the coarse and the refined mask with the true one, in percent: how much is right at all
  mBA   mean boundary accuracy, in percent: how much is right near the true boundary, which is what
        a refiner is for
what the rows say:
  The photos as they are. Then one with a small L: its Global step sees a reduced photo, and the
  Local step, which goes over the photo in crops of L pixels, is seen at work. Then one enlarged:
  time and memory. Last the whole chain, without any mask: a small MMSeg model (DeepLabV3+ for
  persons, cats and horses) finds the object, the refiner sharpens it.
"""


class Sample(NamedTuple):
    """A photo with its masks."""

    name: str
    image: np.ndarray  # RGB uint8 (H, W, 3)
    coarse: np.ndarray  # bool (H, W)
    true: np.ndarray  # bool (H, W)


class Row(NamedTuple):
    """What one run measured; IoU and mBA are fractions, before and after."""

    title: str
    size: str
    seconds: float
    iou: tuple[float, float]
    mba: tuple[float, float]

    def __str__(self):
        scores = ''.join(f'{100 * a:13.1f} -> {100 * b:5.1f}' for a, b in (self.iou, self.mba))
        return f'{self.title:36}{self.size:>11}{self.seconds:9.1f}{scores}'


def load(name: str) -> Sample:
    """A photo of scikit-image and its masks.

    Raises:
        ImportError: scikit-image is not installed.
        OSError: a mask is missing or damaged.
        ValueError: the photo is not the one that was outlined.
    """
    try:
        from skimage import data
    except ImportError:
        raise ImportError(
            'The photos of the demo come with scikit-image, which is not installed: run '
            '`make env`, or `pip install scikit-image`.'
        ) from None
    image = getattr(data, PHOTOS[name])()
    image = image[0] if isinstance(image, tuple) else image
    coarse, true = (read_mask(MASKS / kind / f'{name}.png') > 127 for kind in ('coarse', 'true'))
    if image.shape[:2] != true.shape:
        raise ValueError(
            f'{name}: this scikit-image has the photo in {image.shape[1]}x{image.shape[0]}, '
            f'the masks are {true.shape[1]}x{true.shape[0]}; use a version from 0.20 to 0.26.'
        )
    return Sample(name, image, coarse, true)


def enlarge(sample: Sample, longer: int) -> Sample:
    """The sample with a longer side of ``longer`` pixels."""
    height, width = sample.true.shape
    scale = longer / max(height, width)
    size = round(width * scale), round(height * scale)
    coarse, true = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
        for mask in (sample.coarse, sample.true)
    )
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_CUBIC)
    return Sample(sample.name, image, coarse, true)


def measure(
    sample: Sample, title: str, seconds: float, before: np.ndarray, after: np.ndarray
) -> Row:
    """The row of a run that turned the mask ``before`` into ``after``."""
    return Row(
        title,
        f'{sample.image.shape[1]}x{sample.image.shape[0]}',
        seconds,
        tuple(binary_iou(mask, sample.true) for mask in (before, after)),
        tuple(mean_boundary_accuracy(mask, sample.true) for mask in (before, after)),
    )


def run(refiner: Refiner, sample: Sample, title: str, **options) -> tuple[Row, np.ndarray]:
    """Refine and measure one sample.

    Returns:
        What was measured, and the refined mask, bool ``(H, W)``.
    """
    start = time.perf_counter()
    # As the paper: the Local step only where the photo is larger than L.
    refined = refiner.refine(sample.image, sample.coarse, **{'fast': None, **options}) > 127
    seconds = time.perf_counter() - start
    return measure(sample, title, seconds, sample.coarse, refined), refined


def run_chain(model, sample: Sample, name: str) -> tuple[Row, Sample, np.ndarray]:
    """A segmentor with a refiner behind it, on the photo alone.

    Returns:
        What was measured, the sample with the segmentor's mask, and the refined mask.
    """
    start = time.perf_counter()
    result = inference_model(model, cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
    seconds = time.perf_counter() - start
    label = model.dataset_meta['classes'].index(name)
    masks = tuple(
        maps.data[0].cpu().numpy() == label
        for maps in (result.pred_sem_seg_coarse, result.pred_sem_seg)
    )
    row = measure(sample, f'{sample.name}, found as {name}', seconds, *masks)
    return row, sample._replace(coarse=masks[0]), masks[1]


def mean(rows: list[Row]) -> Row:
    """The row of the means."""
    seconds, iou, mba = (
        np.mean([getattr(row, key) for row in rows], axis=0) for key in ('seconds', 'iou', 'mba')
    )
    return Row('mean', '', float(seconds), tuple(iou), tuple(mba))


def peak_memory() -> str:
    """The most memory this process has held so far, in words."""
    if resource is None:
        return 'not known on this system'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f'{peak / (2**30 if sys.platform == "darwin" else 2**20):.1f} GiB'


def write_picture(
    path: Path,
    image: np.ndarray,
    row: Row,
    masks: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str] = ('before', 'after'),
) -> None:
    """Write the photo with both masks and their scores."""
    titles = tuple(
        f'{name}: IoU {100 * iou:.1f}, mBA {100 * mba:.1f}'
        for name, iou, mba in zip(names, row.iou, row.mba, strict=True)
    )
    write_image(path, before_after(image, *masks, titles=titles))
    print(f'    {path}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Refine the coarse masks of sample photos, write before/after pictures and '
        'print how much closer to the true masks they came.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out', default='demo_output', help='folder of the pictures (%(default)s)'
    )
    parser.add_argument(
        '--photos',
        nargs='+',
        choices=PHOTOS,
        default=list(PHOTOS),
        metavar='NAME',
        help=f'which of {", ".join(PHOTOS)} (all)',
    )
    parser.add_argument(
        '--refiner', default='lite', help="'lite', 'r50' or a config (%(default)s)"
    )
    parser.add_argument('--checkpoint', help="weights (those of the refiner's name)")
    parser.add_argument('--device', help='such as cpu or cuda (a GPU where there is one)')
    parser.add_argument(
        '--small-l',
        type=int,
        default=400,
        metavar='L',
        help=f'L of the additional run on {SMALL}; 0 leaves it out (%(default)s)',
    )
    parser.add_argument(
        '--large',
        type=int,
        default=2500,
        metavar='PIXELS',
        help=f'longer side of the additional, enlarged {LARGE}; 0 leaves it out (%(default)s)',
    )
    parser.add_argument(
        '--no-chain', action='store_true', help='leave out the segmentor with the refiner behind'
    )
    return parser.parse_args(argv)


def demonstrate(args: argparse.Namespace) -> None:
    """All runs, pictures and the table."""
    out = Path(args.out)
    samples = [load(name) for name in args.photos]
    refiner = Refiner(args.refiner, checkpoint=args.checkpoint, device=args.device)
    print(f'Refiner {refiner.name} on {refiner.device}\n\n{HEADER}')
    rows = []
    for sample in samples:
        row, refined = run(refiner, sample, sample.name)
        print(row)
        write_picture(out / f'{sample.name}.jpg', sample.image, row, (sample.coarse, refined))
        rows.append(row)
    print(mean(rows))
    if args.small_l:
        print(f'\nOne photo with L={args.small_l}: first the Global step alone, then both.')
        sample = load(SMALL)
        row, after_global = run(
            refiner, sample, f'{SMALL}, Global step', fast=True, L=args.small_l
        )
        print(row)
        both, refined = run(refiner, sample, f'{SMALL}, Global and Local step', L=args.small_l)
        print(both)
        # The picture shows what the Local step adds.
        added = both._replace(iou=(row.iou[1], both.iou[1]), mba=(row.mba[1], both.mba[1]))
        write_picture(
            out / f'{SMALL}_L{args.small_l}.jpg',
            sample.image,
            added,
            (after_global, refined),
            ('after the Global step', 'after the Local step'),
        )
    if args.large:
        print(f'\nOne photo enlarged to {args.large} pixels.')
        sample = enlarge(load(LARGE), args.large)
        row, refined = run(refiner, sample, f'{LARGE}, enlarged')
        print(row)
        path = out / f'{LARGE}_{args.large}.jpg'
        write_picture(path, sample.image, row, (sample.coarse, refined))
        print(f'    peak memory of this process: {peak_memory()}')
    if not args.no_chain:
        print('\nThe whole chain: an MMSegmentation model finds the object, no mask is given.')
        cfg = Config.fromfile(find_config(CHAIN))
        cfg.model.update(refiner=args.refiner, refiner_checkpoint=args.checkpoint)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # MMSeg's own, on its build functions
            model = init_model(cfg, cfg.load_from, device=str(refiner.device))
        for name, thing in CHAINED.items():
            row, sample, refined = run_chain(model, load(name), thing)
            print(row)
            path = out / f'{name}_chain.jpg'
            write_picture(
                path, sample.image, row, (sample.coarse, refined), ('segmentor', 'refined')
            )
    print(f'\nThe pictures are in {out}.')


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 1 after a sentence about what is missing."""
    args = parse_args(argv)
    try:
        demonstrate(args)
    except (ImportError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
