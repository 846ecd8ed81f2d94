"""Make the coarse masks in masks/coarse/ from the true ones in masks/true/.

    python demo/make_coarse.py

They are what a segmentation network gives that predicts at a sixteenth or less of the resolution:
soft coverage on a coarse grid, enlarged bilinearly and cut at one half. Before that the outline is
pushed about by a smooth random field, and a few lobes grow out of it or are bitten from it: a
network errs at whole places rather than in single pixels. Thin parts vanish on the coarse grid
by themselves. The seeds are fixed: the files are always the same.
"""

from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
# name: seed, cell of the grid in pixels, shift of the outline and radius of the lobes in cells
RECIPES = {
    'astronaut': (10, 20, 1.6, 1.4),
    'chelsea': (2, 24, 2.4, 1.2),
    'coffee': (4, 18, 1.5, 1.4),
    'motorcycle': (4, 12, 0.6, 1.0),
    'rocket': (5, 5, 0.5, 0.8),
}


def smooth_noise(rng, shape, cell):
    """Random field (H, W) float in about [-1, 1] that changes over `cell` pixels."""
    height, width = shape
    grid = rng.uniform(-1, 1, (height // cell + 3, width // cell + 3)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def coarsen(mask, seed, cell, shift, lobe):
    """Coarse mask (H, W) uint8, 0 or 255, of a true mask of the same kind."""
    rng = np.random.default_rng(seed)
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    to_edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    # Less of it near the photo's edge: objects do not grow out of the photo.
    reach = shift * cell * np.minimum(1, 0.2 + to_edge / (4 * cell))
    dx, dy = (reach * smooth_noise(rng, mask.shape, 4 * cell) for _ in range(2))
    moved = cv2.remap(mask, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contours, _ = cv2.findContours(
        (moved > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    outline = np.concatenate(contours)[:, 0]
    inner = np.minimum(outline, [width - 1, height - 1] - outline).min(1) > 2.5 * lobe * cell
    outline = outline[inner]  # a lobe at the photo's edge would look like a stub
    for k in range(max(2, len(outline) // (12 * cell))):
        centre = outline[rng.integers(len(outline))].tolist()
        axes = (lobe * cell * rng.uniform(0.5, 1.0, 2)).astype(int).tolist()
        cv2.ellipse(moved, centre, axes, rng.uniform(0, 180), 0, 360, 255 if k % 2 else 0, -1)
    size = (-(-width // cell), -(-height // cell))
    grid = cv2.resize(moved.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA)
    grid = cv2.GaussianBlur(grid, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    soft = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(soft > 0.5, 255, 0).astype(np.uint8)


def main():
    """Make every coarse mask and print how far it is from the true one."""
    target = HERE / 'masks' / 'coarse'
    target.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        true = cv2.imread(str(HERE / 'masks' / 'true' / f'{name}.png'), cv2.IMREAD_GRAYSCALE)
        coarse = coarsen(true, *recipe)
        cv2.imwrite(str(target / f'{name}.png'), coarse)
        both, either = ((true & coarse) > 0).sum(), ((true | coarse) > 0).sum()
        print(f'{name:12s} IoU of the coarse mask {100 * both / either:.1f} %')


if __name__ == '__main__':
    main()
