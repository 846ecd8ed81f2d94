"""What ``demo`` does: refines sample photos, writes pictures, prints scores."""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.apis import inference_model, init_model

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.evaluation.functional import binary_iou, mean_boundary_accuracy
from mmseg_cascadepsp.files.samples import Sample, load_sample
from mmseg_cascadepsp.files.writing import write_image
from mmseg_cascadepsp.models.refiner.zoo import find_config, shipped_folder
from mmseg_cascadepsp.visualization import before_after

from .photos import CHAIN, CHAINED, LARGE, SMALL

try:
    import resource
except ImportError:  # Windows
    resource = None

HEADER = (
    f'{"photo":36}{"size":>11}{"seconds":>9}{"IoU before":>13} -> after{"mBA before":>13} -> after'
)


class Row(NamedTuple):
    """What one run measured. IoU and mBA are fractions, before and after."""

    title: str
    size: str
    seconds: float
    iou: tuple[float, float]
    mba: tuple[float, float]

    def __str__(self):
        scores = ''.join(f'{100 * a:13.1f} -> {100 * b:5.1f}' for a, b in (self.iou, self.mba))
        return f'{self.title:36}{self.size:>11}{self.seconds:9.1f}{scores}'


def load(name: str) -> Sample:
    """A photo of scikit-image and its masks, see
    :func:`~mmseg_cascadepsp.files.samples.load_sample`.
    """
    return load_sample(name, shipped_folder('demo') / 'masks')


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
    refined = refiner.refine(sample.image, sample.coarse, **options) > 127
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


def demonstrate(args: argparse.Namespace) -> None:
    """All runs, pictures and the table."""
    out = Path(args.out)
    samples = [load(name) for name in args.photos]
    refiner = Refiner(args.refiner, checkpoint=args.checkpoint, device=args.device)
    print(f'Refiner {refiner.name} on {refiner.network.device}\n\n{HEADER}')
    rows = []
    for sample in samples:
        row, refined = run(refiner, sample, sample.name)
        print(row)
        write_picture(out / f'{sample.name}.jpg', sample.image, row, (sample.coarse, refined))
        rows.append(row)
    print(mean(rows))
    if args.small_l and SMALL in args.photos:
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
    if args.large and LARGE in args.photos:
        print(f'\nOne photo enlarged to {args.large} pixels.')
        sample = enlarge(load(LARGE), args.large)
        row, refined = run(refiner, sample, f'{LARGE}, enlarged')
        print(row)
        path = out / f'{LARGE}_{args.large}.jpg'
        write_picture(path, sample.image, row, (sample.coarse, refined))
        print(f'    peak memory of this process: {peak_memory()}')
    chained = {name: thing for name, thing in CHAINED.items() if name in args.photos}
    if chained and not args.no_chain:
        print('\nThe whole chain: an MMSegmentation model finds the object, no mask is given.')
        cfg = Config.fromfile(find_config(CHAIN))
        cfg.model.update(refiner=args.refiner, refiner_checkpoint=args.checkpoint)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # MMSeg's own, on its build functions
            model = init_model(cfg, cfg.load_from, device=str(refiner.network.device))
        for name, thing in chained.items():
            row, sample, refined = run_chain(model, load(name), thing)
            print(row)
            path = out / f'{name}_chain.jpg'
            write_picture(
                path, sample.image, row, (sample.coarse, refined), ('segmentor', 'refined')
            )
    print(f'\nThe pictures are in {out}.')
