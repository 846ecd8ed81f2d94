"""Make the pictures of docs/images from the photos of ``make demo``, by the shipped refiner:
``python docs/make_pictures.py [NAME ...]``. Minutes on two cores.

``architecture.svg`` is drawn by tests/architecture.py, and page*.png by the test of the page.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config

from mmseg_cascadepsp import Refiner, find_config
from mmseg_cascadepsp.cascade import CascadeSettings, local_crops, run_cascade
from mmseg_cascadepsp.cli.demonstration import enlarge, load, run_chain
from mmseg_cascadepsp.evaluation.functional import binary_iou, mean_boundary_accuracy
from mmseg_cascadepsp.files.samples import PHOTOS
from mmseg_cascadepsp.visualization import before_after, cascade_panels, overlay
from mmseg_cascadepsp.visualization.drawing import (
    CYAN,
    INK,
    ORANGE,
    WHITE,
    outline,
    paint_labels,
    title_strip,
)

OUT = Path(__file__).resolve().parent / 'images'
LARGEST = 300_000
PALETTE = np.uint8([[60, 60, 60], [255, 122, 26], [0, 160, 220], [90, 200, 90], [200, 60, 200]])
#: Rough classes beside the person of the astronaut's photo: polygons of (x, y).
ROUGH = {
    2: [(0, 0), (60, 0), (90, 120), (95, 215), (40, 300), (10, 420), (0, 420)],
    3: [(380, 20), (400, 0), (440, 5), (462, 60), (458, 190), (470, 285), (350, 285), (375, 150)],
    4: [(300, 400), (350, 340), (430, 340), (490, 400), (505, 511), (290, 511)],
}


def save(name: str, picture: np.ndarray, width: int | None = None) -> None:
    """Write a picture as JPEG, of less than 300 KB."""
    if width and width < picture.shape[1]:
        height = round(picture.shape[0] * width / picture.shape[1])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    path = OUT / f'{name}.jpg'
    for quality in (90, 85, 80, 75, 70):
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if path.stat().st_size < LARGEST:
            break
    print(path.name, f'{picture.shape[1]}x{picture.shape[0]}', path.stat().st_size)


def row(pictures: list[np.ndarray], gap: int = 12) -> np.ndarray:
    """Pictures side by side on white."""
    height = max(len(picture) for picture in pictures)
    padded = [
        np.pad(
            picture,
            ((0, height - len(picture)), (gap if index else 0, 0), (0, 0)),
            constant_values=255,
        )
        for index, picture in enumerate(pictures)
    ]
    return np.concatenate(padded, axis=1)


def titled(picture: np.ndarray, words: str, colour=INK) -> np.ndarray:
    """A picture with words above it."""
    return np.concatenate((title_strip(picture.shape[1], [(colour, words)], 15), picture))


def scores(name: str, mask: np.ndarray, true: np.ndarray) -> str:
    """IoU and mBA of a mask, in words."""
    return (
        f'{name}: IoU {100 * binary_iou(mask, true):.1f}, '
        f'mBA {100 * mean_boundary_accuracy(mask, true):.1f}'
    )


def on_photo(sample, mask: np.ndarray, name: str, colour=CYAN, size: int = 480) -> np.ndarray:
    """A mask on its photo, with its scores."""
    picture = overlay(sample.image, mask, colour)
    height = round(size * picture.shape[0] / picture.shape[1])
    picture = cv2.resize(picture, (size, height), interpolation=cv2.INTER_AREA)
    return titled(picture, scores(name, mask, sample.true), colour)


def refined(sample, refiner=None, **settings) -> np.ndarray:
    """The refined mask of a sample."""
    refiner = (refiner or Refiner('lite', device='cpu')).with_settings(**settings)
    return refiner.refine(sample.image, sample.coarse) > 127


def pair(sample, after: np.ndarray, width: int = 1000, names=('before', 'after')) -> np.ndarray:
    """Before and after, with scores and the most changed place."""
    titles = tuple(
        scores(name, mask, sample.true)
        for name, mask in zip(names, (sample.coarse, after), strict=True)
    )
    return before_after(sample.image, sample.coarse, after, titles=titles, width=width)


def draw_before_after():
    """README's picture."""
    samples = [load('astronaut'), load('coffee')]
    save('before_after', row([pair(sample, refined(sample), 800) for sample in samples], 32))


def draw_coffee():
    """One mask, in docs/start-mask.md."""
    sample = load('coffee')
    save('coffee', pair(sample, refined(sample)))


def draw_annotations():
    """Outlines before and after."""
    pictures = []
    for name in ('astronaut', 'coffee'):
        sample = load(name)
        for mask, colour in ((sample.coarse, ORANGE), (refined(sample), CYAN)):
            canvas = sample.image.copy()
            outline(canvas, mask, colour, 2)
            scale = 360 / canvas.shape[0]
            size = round(canvas.shape[1] * scale), 360
            pictures.append(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA))
    save('annotations', row(pictures))


def draw_chain():
    """The shipped chain on the cat, in docs/start-mmseg.md."""
    from mmseg.apis import init_model  # after this package: see docs/trouble.md

    cfg = Config.fromfile(find_config('deeplabv3plus_refined_persons-cats-horses.py'))
    model = init_model(cfg, cfg.load_from, device='cpu')
    _, sample, after = run_chain(model, load('chelsea'), 'cat')
    save('chain', pair(sample, after, names=('segmentor', 'refined')))


def draw_cascade():
    """What each pass of a cascade gives."""
    sample, network = load('motorcycle'), Refiner('lite', device='cpu').network
    height, width = (448, 672)
    image = cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_AREA)
    masks = [
        cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA)
        for mask in (sample.coarse, sample.true)
    ]
    with torch.inference_mode():
        photo = network.normalize(torch.from_numpy(image).permute(2, 0, 1)[None])
        coarse = torch.from_numpy(masks[0])[None, None].float() / 127.5 - 1
        passes = run_cascade(network.for_image(photo), coarse, network.strides)
    outputs = [
        {stride: value[:, 0].float().sigmoid().numpy() for stride, value in outputs.items()}
        for outputs in passes
    ]
    picture = cascade_panels(image[None], masks[0][None], outputs, masks[1][None], side=300)
    # Nine columns are too many for a page: four above, five below.
    step = picture.shape[1] // 9
    above, below = picture[:, : 5 * step], picture[:, 5 * step :]
    below = np.pad(
        below, ((0, 0), (0, above.shape[1] - below.shape[1]), (0, 0)), constant_values=255
    )
    save('cascade', np.concatenate((above, below)))


def draw_steps():
    """Global and Local step, of a photo that is three times as large as L."""
    sample = load('motorcycle')
    after_global = refined(sample, steps='global', L=256)
    after_local = refined(sample, steps='both', L=256)
    save(
        'steps',
        row([
            on_photo(sample, sample.coarse, 'coarse', ORANGE),
            on_photo(sample, after_global, 'Global step, L=256'),
            on_photo(sample, after_local, 'and Local step, L=256'),
        ]),
    )  # fmt: skip


def draw_crops():
    """Crops of the Local step: the grid, those that are refined, and adaptive ones."""
    sample = enlarge(load('astronaut'), 2000)
    coarse = torch.from_numpy(sample.coarse)[None, None].float()
    panels = []
    for name, settings in (
        ("crops='uniform', crop_filter='all'", dict(crop_filter='all')),
        ("crops='uniform'", {}),
        ("crops='adaptive'", dict(crops='adaptive')),
    ):
        settings = CascadeSettings(L=500, **settings)
        crops = local_crops({4: coarse, 1: coarse}, sample.true.shape, settings)
        canvas = overlay(sample.image, sample.coarse, ORANGE, 0.2)
        for crop in crops:
            box = crop.outer
            corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
            cv2.rectangle(canvas, *corners, INK, 12)
            cv2.rectangle(canvas, *corners, WHITE, 5)
        canvas = cv2.resize(canvas, (440, 440), interpolation=cv2.INTER_AREA)
        panels.append(titled(canvas, f'{name}: {len(crops)} crops'))
    save('crops', row(panels))


def draw_l():
    """One mask at three L."""
    sample = load('coffee')
    save(
        'l',
        row([on_photo(sample, sample.coarse, 'coarse', ORANGE, 360)]
            + [on_photo(sample, refined(sample, steps='global', L=L), f'L={L}', CYAN, 360)
               for L in (150, 300, 900)]),
    )  # fmt: skip


def draw_fusion():
    """A label map whose parts compete."""
    sample = load('astronaut')
    labels = np.zeros(sample.true.shape, np.int32)
    for label, polygon in ROUGH.items():
        cv2.fillPoly(labels, [np.array(polygon)], label)
    labels[sample.coarse & (labels == 0)] = 1
    refiner = Refiner('lite', device='cpu')
    after = refiner.refine_semantic(sample.image, labels, background=None, strategy='scene')
    panels = [
        titled(paint_labels(sample.image, maps, PALETTE), words, colour)
        for maps, words, colour in ((labels, 'before', ORANGE), (after, 'after', CYAN))
    ]
    save('fusion', row(panels))


def draw_lite():
    """What lite adds to the paper's cascade, one after the other."""
    sample, refiner = load('astronaut'), Refiner('lite', device='cpu')
    plain = dict(overview=0, guided_filter=False, tidy=False)
    masks = {
        'coarse': sample.coarse,
        "the paper's cascade": refined(sample, refiner, **plain),
        'with the overview': refined(sample, refiner, guided_filter=False, tidy=False),
        'with the guided filter, too': refined(sample, refiner),
    }
    panels = [
        on_photo(sample, mask, name, CYAN if index else ORANGE, 400)
        for index, (name, mask) in enumerate(masks.items())
    ]
    save('lite', row(panels))


def draw_failure_rocket():
    """Lattice beside the object."""
    sample = load('rocket')
    save('failure_rocket', pair(sample, refined(sample)))


def draw_failure_missing():
    """A part that the coarse mask lacks altogether."""
    sample = load('chelsea')
    coarse = sample.coarse.copy()
    coarse[:, 210:] = False
    sample = sample._replace(coarse=coarse)
    save('failure_missing', pair(sample, refined(sample)))


def draw_failure_accurate():
    """Masks that were right already: their scores, and the picture of one."""
    refiner = Refiner('lite', device='cpu', keep_accurate=False)
    for name in PHOTOS:
        sample = load(name)
        sample = sample._replace(coarse=sample.true)
        masks = sample.true, refined(sample, refiner)
        names = 'the true mask, given', 'lite, --no-keep-accurate'
        print(name, scores(names[1], masks[1], sample.true))
        if name == 'motorcycle':
            save(
                'failure_accurate',
                row([
                    on_photo(sample, mask, words, CYAN if index else ORANGE, 480)
                    for index, (words, mask) in enumerate(zip(names, masks, strict=True))
                ]),
            )  # fmt: skip


PICTURES = {
    name.removeprefix('draw_'): draw for name, draw in globals().items() if name[:5] == 'draw_'
}

if __name__ == '__main__':
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
