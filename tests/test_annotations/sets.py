"""Small sets of every format, as their tools write them, and a refiner that follows colours."""

import base64
import io
import json

import cv2
import numpy as np
from PIL import Image

from mmseg_cascadepsp.annotations.masks import cut_out, encode_rle, joined, outlines, run_lengths
from mmseg_cascadepsp.cascade import CascadeSettings, Network
from mmseg_cascadepsp.visualization import default_palette

SIZE = 96, 128
COLOURS = (230, 20, 20), (20, 230, 20), (20, 20, 230), (230, 230, 20)


class SameColour(Network):
    """Says of pixels that they are the object if they have the colour that is under its mask."""

    def normalize(self, image):
        return image.float() / 255

    def for_image(self, image):
        def passes(masks, strides):
            weight = (masks[:, :1] > 0) * image.max(1, keepdim=True).values ** 4
            total = weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
            colour = (image * weight).sum((2, 3), keepdim=True) / total
            off = (image - colour).abs().amax(1, keepdim=True)
            return dict.fromkeys(strides, (0.4 - off) * 20)

        return passes


class ToyRefiner:
    """The parts of a refiner that sets need."""

    progress = False

    def __init__(self, network=None):
        self.network = network or SameColour()
        self.cascade = CascadeSettings(L=448, enlarge=False, region='object')

    def settings(self):
        return {'model': 'same colour'}


def disc(y, x, radius, size=SIZE):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.hypot(rows - y, columns - x) < radius


def objects():
    """True masks of a photo: a disc, a ring with a hole, and one of two parts."""
    ring = disc(60, 36, 22) & ~disc(60, 36, 8)
    parts = disc(22, 84, 10) | disc(50, 104, 12)
    return [disc(24, 32, 14), ring, parts]


def coarse(mask):
    """A mask as a careless annotator draws it."""
    kernel = np.ones((3, 3), np.uint8)
    wide = cv2.dilate(mask.astype(np.uint8), kernel)
    return np.roll(wide, 1, axis=1) > 0


def photo(masks, size=SIZE):
    """RGB uint8: every object has a colour of its own."""
    image = np.full((*size, 3), 20, np.uint8)
    for mask, colour in zip(masks, COLOURS, strict=False):
        image[mask] = colour
    return image


def write_photos(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(objects())).save(folder / name)


def edge_polygons(mask):
    return [np.ravel(part[0]).tolist() for part in outlines(cut_out(mask), 'pycocotools')]


def coco(folder, indent=None):
    """COCO with polygons, both run lengths, a crowd, strings as ids, and keys of its own."""
    write_photos(folder / 'photos', ['straße/夏 1.png', 'b.png'])
    one, ring, parts = map(coarse, objects())
    whole = encode_rle(cut_out(ring), SIZE)
    flat = {'size': list(SIZE), 'counts': run_lengths(np.ravel(parts, order='F'))}

    def entry(number, image, segmentation, **more):
        return {
            'id': number,
            'image_id': image,
            'category_id': 7,
            'segmentation': segmentation,
            'area': 1.5,
            'bbox': [0.5, 1.0, 2.25, 3.0],
            'iscrowd': 0,
            'attributes': {'Größe': [1, 2.50], 'tool': None},
            **more,
        }

    data = {
        'info': {'année': 2024, 'x': [1.0, 2]},
        'images': [
            {'id': 'a-1', 'file_name': 'straße/夏 1.png', 'height': SIZE[0], 'width': SIZE[1]},
            {'id': 5, 'file_name': 'b.png', 'height': SIZE[0], 'width': SIZE[1], 'extra': True},
        ],
        'annotations': [
            entry('first', 'a-1', edge_polygons(one)),
            entry(2, 'a-1', whole, area=5, bbox=[1, 2, 3, 4]),
            entry(3, 5, flat),
            entry(4, 5, edge_polygons(parts), track_id='t 1'),
            entry(5, 5, flat, iscrowd=1),
            entry(6, 5, []),
            {'id': 7, 'image_id': 5, 'category_id': 7, 'keypoints': [1, 2, 2]},
        ],
        'categories': [{'id': 7, 'name': 'Häuser', 'supercategory': ''}],
    }
    text = json.dumps(data, indent=indent, ensure_ascii=indent is None)
    (folder / 'set.json').write_text(text + '\n', encoding='utf-8')
    return folder / 'set.json', folder / 'photos'


def yolo(folder):
    """YOLO: data.yaml, labels of two splits, a box among them."""
    write_photos(folder / 'images', ['train/été.png', 'val/b.png'])
    lines = []
    for number, mask in enumerate(map(coarse, objects())):
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        ring = joined([contour[:, 0] for contour in contours])  # of parts, as YOLO's converters
        ring = (ring + 0.5) / (SIZE[1], SIZE[0])
        lines.append(' '.join([str(number % 2), *(f'{value:.6f}' for value in ring.ravel())]))
    for name, own in (('train/été', lines), ('val/b', lines[:1])):
        path = folder / 'labels' / f'{name}.txt'
        path.parent.mkdir(parents=True)
        path.write_bytes('\r\n'.join([*own, '1 0.5 0.5 0.25 0.125', '']).encode())
    (folder / 'labels' / 'train' / 'empty.txt').write_text('')
    (folder / 'data.yaml').write_text(
        'path: .\ntrain: images/train\nnames:\n  0: cat\n  1: хвост\n'
    )
    return folder / 'data.yaml', None


def labelme(folder):
    """LabelMe: polygons, a mask, a circle, flags and the photo inside the file."""
    one, ring, parts = map(coarse, objects())
    file = io.BytesIO()
    Image.fromarray(photo(objects())).save(file, 'PNG')
    box = cut_out(ring)
    mask = io.BytesIO()
    Image.fromarray(box.mask).save(mask, 'PNG')
    contours, _ = cv2.findContours(one.astype(np.uint8), cv2.RETR_EXTERNAL, 2)
    shapes = [
        {
            'label': 'кот',
            'points': contours[0][:, 0].astype(float).tolist(),
            'group_id': 3,
            'shape_type': 'polygon',
            'flags': {'truncated': True},
        },
        {
            'label': 'circle',
            'points': [[1.25, 2], [3, 4]],
            'group_id': None,
            'shape_type': 'circle',
            'flags': {},
        },
        {
            'label': 'ring',
            'points': [[box.box.left, box.box.top], [box.box.right - 1, box.box.bottom - 1]],
            'shape_type': 'mask',
            'mask': base64.b64encode(mask.getvalue()).decode(),
        },
    ]
    data = {
        'version': '5.4.1',
        'flags': {},
        'shapes': shapes,
        'imagePath': 'gone.png',
        'imageData': base64.b64encode(file.getvalue()).decode(),
        'imageHeight': SIZE[0],
        'imageWidth': SIZE[1],
        'own': {'a': [1, 2.0]},
    }
    folder.mkdir(exist_ok=True)
    text = json.dumps(data, ensure_ascii=False, indent=2)
    (folder / 'müller.json').write_text(text, encoding='utf-8')
    return folder, None


def cvat(folder):
    """CVAT for images 1.1: polygons, a mask, boxes, tags, attributes and a track."""
    write_photos(folder / 'photos', ['déjà/a.png'])
    one, ring, parts = map(coarse, objects())
    box = cut_out(ring)
    points = ';'.join(
        f'{x:.2f},{y:.2f}' for x, y in np.reshape(edge_polygons(one)[0], (-1, 2)).tolist()
    )
    text = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>a &gt; b</name></task></meta>
  <image id="0" name="déjà/a.png" width="{SIZE[1]}" height="{SIZE[0]}">
    <tag label="tag" source="manual"></tag>
    <polygon label="a > b" source="manual" occluded="0" points="{points}" z_order="0">
      <attribute name="größe">1 "2"</attribute>
    </polygon>
    <box label="x" xtl="1.00" ytl="2.00" xbr="3.00" ybr="4.00"></box>
    <mask label='ring' rle="{', '.join(map(str, run_lengths(box.mask.ravel())))}" left="{
        box.box.left
    }" top="{box.box.top}" width="{box.mask.shape[1]}" height="{box.mask.shape[0]}" z_order="1">
    </mask>
  </image>
  <track id="1" label="t"><polygon frame="0" points="1.00,1.00;2.00,1.00;2.00,2.00"/></track>
</annotations>
"""
    (folder / 'set.xml').write_text(text, encoding='utf-8')
    return folder / 'set.xml', folder / 'photos'


def _ids(values, dtype=np.uint8):
    labels = np.zeros(SIZE, dtype)
    for mask, value in zip(map(coarse, objects()), values, strict=True):
        labels[mask] = value
    return labels


def _palette_png(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(default_palette().tobytes())
    picture.save(path)


def voc(folder):
    """PASCAL VOC: objects and classes with a line of void, and an area of void."""
    write_photos(folder / 'JPEGImages', ['2007_1.png'])
    for kind, values in (('Object', (1, 2, 3)), ('Class', (5, 15, 15))):
        labels = _ids(values)
        edge = cv2.morphologyEx(
            labels, cv2.MORPH_GRADIENT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        )
        labels[edge > 0] = 255
        labels[80:, 100:] = 255
        _palette_png(folder / f'Segmentation{kind}' / '2007_1.png', labels)
    (folder / 'ImageSets').mkdir()
    (folder / 'ImageSets' / 'val.txt').write_text('2007_1\n')
    return folder, None


def cityscapes(folder):
    """Cityscapes: instance maps of 16 bits, class maps and polygons beside them."""
    write_photos(folder / 'leftImg8bit' / 'ulm', ['ulm_0_leftImg8bit.png'])
    place = folder / 'gtFine' / 'ulm'
    place.mkdir(parents=True)
    labels = _ids((26001, 24000, 26002), np.uint16)
    labels[labels == 0] = 7
    labels[:, 64:][labels[:, 64:] == 7] = 8
    Image.fromarray(labels).save(place / 'ulm_0_gtFine_instanceIds.png')
    classes = np.where(labels >= 1000, labels // 1000, labels).astype(np.uint8)
    Image.fromarray(classes).save(place / 'ulm_0_gtFine_labelIds.png')
    (place / 'ulm_0_gtFine_polygons.json').write_text('{"objects": []}')
    return folder / 'gtFine', None


def label_maps(folder):
    """A folder of label maps."""
    write_photos(folder / 'photos', ['ä.png', 'sub/b.png'])
    for name in ('ä.png', 'sub/b.png'):
        (folder / 'labels' / name).parent.mkdir(parents=True, exist_ok=True)
        labels = _ids((1, 2, 1))
        labels[80:, 100:] = 255
        Image.fromarray(labels).save(folder / 'labels' / name)
    return folder / 'labels', folder / 'photos'


#: Name of the format -> writes a set into a folder, returns it and the folder of its photos.
SETS = {
    'COCO': coco,
    'YOLO': yolo,
    'LabelMe': labelme,
    'CVAT for images': cvat,
    'PASCAL VOC': voc,
    'Cityscapes': cityscapes,
    'label maps': label_maps,
}
