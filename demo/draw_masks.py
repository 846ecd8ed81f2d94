"""Render the hand-drawn outlines in polygons/ as the true masks in masks/true/.

    python demo/draw_masks.py

Each polygons/NAME.json says what was outlined and gives the `outlines`: lists of [x, y] vertices,
where whole numbers are centres of pixels. A pixel belongs to the object where at least half of its
area lies inside one of the outlines and outside all `holes`. To mend a mask, move its vertices and
run this file again.
"""

import json
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
SCALE = 8  # the coverage of a pixel is counted on SCALE x SCALE points


def render(drawing):
    """Mask (H, W) uint8, 0 or 255, of one drawing, the content of a polygons/NAME.json."""
    width, height = drawing['size']
    fine = np.zeros((height * SCALE, width * SCALE), np.uint8)
    for key, value in (('outlines', 1), ('holes', 0)):
        for outline in drawing[key]:
            vertices = (np.array(outline, float) + 0.5) * SCALE - 0.5
            cv2.fillPoly(fine, [np.rint(vertices).astype(np.int32)], value)
    covered = fine.reshape(height, SCALE, width, SCALE).sum((1, 3), dtype=np.int64)
    return np.where(2 * covered >= SCALE * SCALE, 255, 0).astype(np.uint8)


def main():
    """Render every drawing."""
    target = HERE / 'masks' / 'true'
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((HERE / 'polygons').glob('*.json')):
        cv2.imwrite(str(target / f'{path.stem}.png'), render(json.loads(path.read_text())))
        print(target / f'{path.stem}.png')


if __name__ == '__main__':
    main()
