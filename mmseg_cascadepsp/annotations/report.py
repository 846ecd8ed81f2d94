"""A page about a run: numbers, how much changed, and every object before and after."""

import base64
import html
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg_cascadepsp.cascade import Box
from mmseg_cascadepsp.visualization.drawing import CYAN, ORANGE

from .base import AnnotationSet, Photo, write_bytes
from .masks import ObjectMask, decode_rle, union
from .results import AnnotationReport, ObjectResult

#: Longer side of a crop, in pixels.
SIDE = 180
#: Objects with pictures, at most.
MOST = 2000

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(380px,1fr));gap:14px}
figure{margin:0;padding:8px;border:1px solid #8886;border-radius:6px;content-visibility:auto;
contain-intrinsic-size:380px 250px}
figure img{width:100%;height:180px;object-fit:contain;background:#8882}
figcaption{font-size:13px;overflow-wrap:anywhere}.kept{border-color:#d80}.failed{color:#c22}
svg text{fill:currentColor}
"""
_SCRIPT = """
const seen=new IntersectionObserver(found=>{for(const one of found)if(one.isIntersecting){
one.target.src=one.target.dataset.src;one.target.removeAttribute('data-src');
seen.unobserve(one.target)}},{rootMargin:'600px'});
for(const img of document.querySelectorAll('img[data-src]'))seen.observe(img);
"""


def histogram(values: list[float], width: int = 640, height: int = 180) -> str:
    """A histogram of shares from 0 to 1, as SVG.

    Example:
        >>> histogram([0.02, 0.5]).count('<rect')
        20
    """
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=20, range=(0, 1))
    top, step = max(int(counts.max(initial=0)), 1), width / 20
    bars = []
    for index, count in enumerate(counts.tolist()):
        tall = (height - 40) * count / top
        bars.append(
            f'<rect x="{index * step + 1:.1f}" y="{height - 20 - tall:.1f}" '
            f'width="{step - 2:.1f}" height="{tall:.1f}" fill="#2a9fd6">'
            f'<title>{index * 5} to {index * 5 + 5} %: {count} objects</title></rect>'
        )
        if count:
            bars.append(
                f'<text x="{(index + 0.5) * step:.1f}" y="{height - 24 - tall:.1f}" '
                f'font-size="10" text-anchor="middle">{count}</text>'
            )
    ticks = ''.join(
        f'<text x="{width * share / 100:.0f}" y="{height - 6}" font-size="11" '
        f'text-anchor="{"start" if not share else "end" if share == 100 else "middle"}">'
        f'{share} %</text>'
        for share in (0, 25, 50, 75, 100)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="histogram of changes">{"".join(bars)}{ticks}</svg>'
    )


def before_after_crop(
    image: np.ndarray, old: ObjectMask, new: ObjectMask, side: int = SIDE
) -> np.ndarray:
    """Two crops of an object side by side: its outline before and after.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        old, new: The masks.
        side: Longer side of a crop.

    Returns:
        RGB uint8.

    Example:
        >>> from mmseg_cascadepsp.annotations.masks import cut_out
        >>> mask = cut_out(np.ones((20, 20)))
        >>> before_after_crop(np.zeros((40, 40, 3), np.uint8), mask, mask).shape
        (180, 364, 3)
    """
    box = union(old.box, new.box)
    grow = max(4, round(0.15 * max(box.bottom - box.top, box.right - box.left)))
    box = Box(
        max(0, box.top - grow),
        max(0, box.left - grow),
        min(image.shape[0], box.bottom + grow),
        min(image.shape[1], box.right + grow),
    )
    height, width = box.bottom - box.top, box.right - box.left
    scale = side / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = cv2.resize(np.ascontiguousarray(image[box.slices]), shape, interpolation=how)
    gap = np.full((shape[1], 4, 3), 255, np.uint8)
    pictures = []
    for mask, colour in ((old, ORANGE), (new, CYAN)):
        inside = cv2.resize(mask.inside(box).astype(np.uint8) * 255, shape)
        contours, _ = cv2.findContours(
            (inside > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        pictures.append(cv2.drawContours(crop.copy(), contours, -1, colour, 1, cv2.LINE_AA))
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def _uri(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'JPEG', quality=82)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode('ascii')


def _pictures(
    source: AnnotationSet, photos: list[Photo], wanted: dict[str, ObjectResult]
) -> Iterator[tuple[str, str]]:
    """(key, data URI) of the objects, a photo after the other."""
    by_photo: dict[str, list[ObjectResult]] = {}
    for item in wanted.values():
        by_photo.setdefault(item.photo, []).append(item)
    for photo in photos:
        items = by_photo.get(photo.key)
        if not items:
            continue
        try:
            image = source.image(photo)
            entries = {entry.key: entry for entry in photo.entries}
        except (OSError, ValueError):  # gone since the run
            continue
        size = image.shape[:2]
        for item in items:
            old = source.decode(entries[item.key].geometry, size)
            new = old
            if item.geometry is not None:
                new = source.decode(item.geometry, size)
            elif item.proposal is not None:
                new = decode_rle(item.proposal)
            yield item.key, _uri(before_after_crop(image, old, new))


def _figure(item: ObjectResult, picture: str) -> str:
    words = [f'<b>{html.escape(item.label)}</b> {html.escape(item.key)}']
    words.append(
        f'change {1 - item.iou:.1%}'
        + (f', shift {item.shift:.1f} px' if item.shift is not None else '')
        + (f', parts {item.parts[0]} → {item.parts[1]}' if item.parts else '')
        + (f', sureness {item.sureness:.2f}' if item.sureness is not None else '')
    )
    if item.status == 'kept':
        words.append(f'kept as it was: {html.escape(item.reason)}')
    image = f'<img alt="before and after" data-src="{picture}">' if picture else ''
    return (
        f'<figure class="{item.status}">{image}'
        f'<figcaption>{"<br>".join(words)}</figcaption></figure>'
    )


def _rows(pairs) -> str:
    return ''.join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{html.escape(str(value))}</td></tr>'
        for name, value in pairs
    )


def write_report(path: str | os.PathLike, source: AnnotationSet, report: AnnotationReport) -> None:
    """Write the page: one HTML file that needs nothing else.

    Args:
        path: The file.
        source: The set that was refined.
        report: What the run did.
    """
    ordered = report.by_change()
    shown = [item for item in ordered if item.status != 'kept' or item.proposal][:MOST]
    pictures = dict(_pictures(source, list(source.photos()), {i.key: i for i in shown}))
    refined = report.of('refined')
    changes = [1 - item.iou for item in refined]
    costs = [1 - item.outline_iou for item in refined if item.outline_iou is not None]
    numbers = [
        ('format', report.format),
        ('objects', len(report.objects)),
        ('refined', len(refined)),
        ('kept as they were', len(report.of('kept'))),
        ('failed', len(report.of('failed'))),
        ('photos that failed', len(report.faults)),
        ('mean change (1 - IoU of old and new)', _percent(changes)),
        ('IoU that outlines cost, mean', _percent(costs)),
        ('IoU that outlines cost, most', f'{max(costs, default=0):.2%}'),
    ]
    if report.simplified is not None:
        numbers[-2:] = [('pixels that outlines put in another class', f'{report.simplified:.3%}')]
    kept: dict[str, int] = {}
    for item in report.of('kept'):
        kept[item.reason] = kept.get(item.reason, 0) + 1
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f'<title>Refined annotations</title><style>{_STYLE}</style>',
        '<h1>Refined annotations</h1>',
        f'<table id="numbers">{_rows(numbers)}</table>',
    ]
    if report.scores:
        rows = ''.join(
            f'<tr><td>{name}</td>'
            + ''.join(
                f'<td class="n">{"" if math.isnan(value) else f"{value:.2f}"}</td>'
                for value in (before, after, after - before)
            )
            + '</tr>'
            for name, (before, after) in report.scores.items()
        )
        parts.append(
            '<h2>Against the truth</h2><table id="scores"><tr><th></th><th class="n">before</th>'
            f'<th class="n">after</th><th class="n">gain</th></tr>{rows}</table>'
        )
    parts.append(f'<h2>Changes</h2>{histogram(changes)}')
    if kept:
        parts.append(f'<h2>Kept</h2><table id="kept">{_rows(sorted(kept.items()))}</table>')
    failed = [(item.key, item.reason) for item in report.of('failed')]
    failed += [('photo', sentence) for sentence in report.faults.values()]
    if failed:
        parts.append(f'<h2>Failed</h2><table id="failed" class="failed">{_rows(failed)}</table>')
    rejected = [item for item in shown if item.status == 'kept']
    taken = [item for item in shown if item.status == 'refined']
    for title, items in (
        ('Look at these: the refiner would change them, they were kept', rejected),
        ('Refined, the largest changes first', taken),
    ):
        if items:
            figures = ''.join(_figure(item, pictures.get(item.key, '')) for item in items)
            parts.append(f'<h2>{title}</h2><div class="grid">{figures}</div>')
    if len(ordered) > len(shown) and len(shown) == MOST:
        parts.append(f'<p>The {MOST} objects with the largest changes are shown.</p>')
    parts.append(f'<script>{_SCRIPT}</script></html>')
    write_bytes(Path(path), '\n'.join(parts).encode('utf-8'))


def _percent(values: list[float]) -> str:
    return f'{np.mean(values):.2%}' if values else '-'
