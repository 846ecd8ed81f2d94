"""Every format: recognised, read, written back untouched, and refined in its own file."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mmseg_cascadepsp.annotations import FORMATS, open_annotations, refine_annotations
from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.evaluation import binary_iou

from .sets import SETS, SIZE, ToyRefiner, coarse, coco, disc, objects, photo

pytest.importorskip('pycocotools')
pytest.importorskip('shapely')


#: IoU with the truth. Bridges of YOLO have pixels; maps have void, and a pixel has one object.
LEAST = {'YOLO': 0.93, 'PASCAL VOC': 0.93, 'Cityscapes': 0.97, 'label maps': 0.93}


def _files(path):
    if path.is_file():
        return {'': path.read_bytes()}
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob('*') if p.is_file()}


def _run(tmp_path, name, refiner=None, **options):
    (tmp_path / 'in').mkdir()
    path, images = SETS[name](tmp_path / 'in')
    out = tmp_path / (f'out{path.suffix}' if path.suffix in ('.json', '.xml') else 'out')
    report = refine_annotations(
        refiner or ToyRefiner(), path, images=images, out=out, simplify=0, **options
    )
    return path, images, out, report


@pytest.mark.parametrize('name', SETS)
def test_a_format_is_recognised_by_its_content(name, tmp_path):
    path, images = SETS[name](tmp_path)
    assert open_annotations(path, images).name == name
    assert [kind.name for kind in FORMATS if kind.recognises(path)][0] == name


@pytest.mark.parametrize('name', SETS)
def test_a_dry_run_writes_every_byte_back(name, tmp_path):
    path, _, out, report = _run(tmp_path, name, dry_run=True)
    assert not report.failed
    before, after = _files(path if path.suffix != '.yaml' else path.parent), _files(out)
    before = {key: value for key, value in before.items() if key in after}
    assert after == before
    assert len(after) >= len(open_annotations(path, path.parent).photos()) or path.is_file()


@pytest.mark.parametrize('name', SETS)
def test_objects_follow_the_photo(name, tmp_path):
    path, images, out, report = _run(tmp_path, name)
    assert not report.failed, report.of('failed')
    assert len(report.of('refined')) >= 2
    if images is None and name not in ('LabelMe',):
        images = path.parent if path.is_file() else None
    if name == 'Cityscapes':
        images = path.parent / 'leftImg8bit'
    if name == 'PASCAL VOC':
        images = path / 'JPEGImages'
    again = open_annotations(_set_of(out, name), images)
    wanted = [item.key for item in report.of('refined')]
    true = objects()
    # Of label maps every part is an object, the ground, too.
    single, ground = [disc(22, 84, 10), disc(50, 104, 12)], ~np.any(true, axis=0)
    found = 0
    for one in again.photos():
        for entry in one.entries:
            if entry.key in wanted:
                mask = again.decode(entry.geometry, SIZE).whole(SIZE)
                scores = [binary_iou(mask, part) for part in [*true, ground, *single]]
                assert max(scores) > LEAST.get(name, 0.985), entry.key
                found += 1
    assert found == len(wanted) or name == 'label maps'  # its parts are counted anew


def _set_of(out, name):
    return out / 'data.yaml' if name == 'YOLO' else out


def test_coco_changes_outlines_alone(tmp_path):
    path, images, out, report = _run(tmp_path, 'COCO')
    old, new = json.loads(path.read_text()), json.loads(out.read_text())
    for before, after in zip(old['annotations'], new['annotations'], strict=True):
        assert list(before) == list(after)
        for key in before.keys() - {'segmentation', 'area', 'bbox'}:
            assert before[key] == after[key]
    old['annotations'] = new['annotations'] = None
    assert old == new
    first, second, third, fourth, crowd, empty, points = json.loads(out.read_text())['annotations']
    assert isinstance(first['segmentation'], list) and isinstance(first['area'], float)
    assert isinstance(second['segmentation']['counts'], str) and isinstance(second['area'], int)
    assert isinstance(third['segmentation']['counts'], list)
    assert len(fourth['segmentation']) == 2  # one object of two parts
    assert crowd == json.loads(path.read_text())['annotations'][4]
    assert empty['segmentation'] == [] and 'segmentation' not in points
    disc = objects()[0]
    assert first['area'] == disc.sum()
    rows, columns = np.nonzero(disc)
    assert first['bbox'] == [
        columns.min(),
        rows.min(),
        columns.max() + 1 - columns.min(),
        rows.max() + 1 - rows.min(),
    ]


@pytest.mark.parametrize('indent', [None, 1, 4, '\t'])
def test_coco_keeps_its_style(indent, tmp_path):
    path, images = coco(tmp_path, indent)
    text = path.read_text()
    out = tmp_path / 'out.json'
    refine_annotations(ToyRefiner(), path, images=images, out=out)
    new = out.read_text()
    assert new != text
    same = json.dumps(json.loads(new), indent=indent, ensure_ascii=indent is None) + '\n'
    assert new == same


def test_a_polygon_with_a_hole_becomes_run_lengths(tmp_path):
    path, images = coco(tmp_path)
    data = json.loads(path.read_text())
    ring = objects()[1]
    filled = [[14, 38, 58, 38, 58, 82, 14, 82]]
    data['annotations'] = [{**data['annotations'][0], 'segmentation': filled}]
    path.write_text(json.dumps(data))
    out = tmp_path / 'out.json'
    refine_annotations(ToyRefiner(), path, images=images, out=out, max_change=1)
    [new] = json.loads(out.read_text())['annotations']
    assert isinstance(new['segmentation'], dict) and new['iscrowd'] == 0
    from pycocotools import mask as coco_masks

    assert binary_iou(coco_masks.decode(new['segmentation']), ring) > 0.98


def test_yolo_keeps_boxes_classes_and_line_ends(tmp_path):
    path, _, out, _ = _run(tmp_path, 'YOLO')
    old = (path.parent / 'labels' / 'train' / 'été.txt').read_bytes().split(b'\r\n')
    new = (out / 'labels' / 'train' / 'été.txt').read_bytes().split(b'\r\n')
    assert [line[:1] for line in old] == [line[:1] for line in new]
    assert old[3:] == new[3:] and old[0] != new[0]
    assert (out / 'data.yaml').read_bytes() == path.read_bytes()
    assert (out / 'labels' / 'train' / 'empty.txt').read_bytes() == b''


def test_labelme_keeps_the_rest(tmp_path):
    path, _, out, _ = _run(tmp_path, 'LabelMe')
    old, new = (json.loads((f / 'müller.json').read_text()) for f in (path, out))
    assert old['shapes'][1] == new['shapes'][1]
    assert old['shapes'][0]['points'] != new['shapes'][0]['points']
    assert old['shapes'][2]['mask'] != new['shapes'][2]['mask']
    for shapes in (old['shapes'], new['shapes']):
        for shape in shapes:
            shape.pop('points')
            shape.pop('mask', None)
    assert old == new


def test_one_file_of_labelme(tmp_path):
    folder, _ = SETS['LabelMe'](tmp_path)
    path, out = folder / 'müller.json', tmp_path / 'out' / 'müller.json'
    data = json.loads(path.read_text())
    data['imageData'] = None
    path.write_text(json.dumps(data))
    Image.fromarray(photo(objects())).save(folder / 'gone.png')
    report = refine_annotations(ToyRefiner(), path, out=out)
    assert len(report.of('refined')) == 2
    new = json.loads(out.read_text())
    assert new['shapes'][0]['points'] != data['shapes'][0]['points']
    (folder / 'gone.png').unlink()
    report = refine_annotations(ToyRefiner(), path, out=out, overwrite=True)
    assert 'gone.png' in report.faults['müller.json']
    assert out.read_bytes() == path.read_bytes()


def test_cvat_changes_points_and_masks_alone(tmp_path):
    path, _, out, _ = _run(tmp_path, 'CVAT for images')
    old, new = path.read_text(), out.read_text()
    assert old != new

    def without(text):
        image = text[: text.index('<track')]
        return re.sub(r'(points|rle|left|top|width|height)="[\d.,; ]*"', '', image)

    assert without(old) == without(new)
    assert old[old.index('<track') :] == new[new.index('<track') :]


def test_voc_keeps_its_void(tmp_path):
    path, _, out, _ = _run(tmp_path, 'PASCAL VOC')
    name = '2007_1.png'
    for kind, values in (('Object', {0, 1, 2, 3, 255}), ('Class', {0, 5, 15, 255})):
        with (
            Image.open(path / f'Segmentation{kind}' / name) as old,
            Image.open(out / f'Segmentation{kind}' / name) as new,
        ):
            assert new.mode == 'P' and new.getpalette() == old.getpalette()
            labels = np.asarray(new)
            assert set(np.unique(labels)) == values
            assert (labels[82:, 102:] == 255).all()
    disc = objects()[0]
    edge = np.zeros(SIZE, bool)
    edge[1:] |= disc[1:] != disc[:-1]
    assert (labels[edge] == 255).mean() > 0.9  # the line goes along the new outline
    assert (out / 'ImageSets' / 'val.txt').read_text() == '2007_1\n'


def test_voc_of_classes_alone(tmp_path):
    path, _ = SETS['PASCAL VOC'](tmp_path / 'in')
    shutil.rmtree(path / 'SegmentationObject')
    report = refine_annotations(ToyRefiner(), path, out=tmp_path / 'out')
    assert [item.label for item in report.objects] == ['5', '15']
    assert len(report.of('refined')) == 2
    place = 'SegmentationClass/2007_1.png'
    old, new = (np.asarray(Image.open(folder / place)) for folder in (path, tmp_path / 'out'))
    assert (old != new).any() and set(np.unique(new)) == {0, 5, 15, 255}


def test_cityscapes_class_maps_follow(tmp_path):
    path, _, out, _ = _run(tmp_path, 'Cityscapes')
    place = out / 'ulm'
    with Image.open(place / 'ulm_0_gtFine_instanceIds.png') as picture:
        assert picture.mode.startswith('I')
        labels = np.asarray(picture).astype(int)
    classes = np.asarray(Image.open(place / 'ulm_0_gtFine_labelIds.png'))
    assert (classes == np.where(labels >= 1000, labels // 1000, labels)).all()
    assert set(np.unique(labels)) == {7, 8, 24000, 26001, 26002}
    # What objects gave up went to the ground around them, each side to its own.
    assert not (labels[:, 70:] == 7).any() and not (labels[:, :58] == 8).any()


def test_label_maps_as_a_whole(tmp_path):
    path, _, out, report = _run(tmp_path, 'label maps')
    true = np.zeros(SIZE, int)
    for mask, value in zip(objects(), (1, 2, 1), strict=True):
        true[mask] = value
    for name in ('ä.png', 'sub/b.png'):
        old, new = (np.asarray(Image.open(folder / name)).astype(int) for folder in (path, out))
        assert ((old == 255) == (new == 255)).all()
        inside = old != 255
        assert (old == true)[inside].mean() < 0.96 and (new == true)[inside].mean() > 0.99


def test_broken_entries_are_named_and_the_others_go_on(tmp_path):
    path, images = coco(tmp_path)
    data = json.loads(path.read_text())
    good = data['annotations'][0]
    data['annotations'] = [
        good,
        {**good, 'id': 10, 'segmentation': [[1, 2, 3]]},
        {**good, 'id': 11, 'segmentation': {'size': [5, 5], 'counts': 'zz'}},
        {**good, 'id': 12, 'segmentation': {'size': list(SIZE), 'counts': [5, 6]}},
        {**good, 'id': 13, 'image_id': 'nobody'},
        {**good, 'id': 14, 'segmentation': 'abc'},
        {**good, 'id': 18, 'segmentation': [[1e12, 0, 5, 5, 9, 0]]},
    ]
    data['images'].append({'id': 8, 'file_name': 'gone.jpg', 'height': 5, 'width': 5})
    data['annotations'].append({**good, 'id': 15, 'image_id': 8})
    data['images'].append({'id': 9, 'file_name': 'b.png', 'height': 5, 'width': 5})
    data['annotations'].append({**good, 'id': 16, 'image_id': 9})
    path.write_text(json.dumps(data))
    out = tmp_path / 'out.json'
    report = refine_annotations(ToyRefiner(), path, images=images, out=out)
    assert [item.key for item in report.of('failed')] == ['10', '11', '12', '14', '18', '13']
    assert len(report.faults) == 2 and report.failed
    assert 'gone.jpg' in report.faults['8'] and '128 x 96' in report.faults['9']
    assert [item.key for item in report.of('refined')] == ['first']
    new = json.loads(out.read_text())
    assert [item['id'] for item in new['annotations']] == ['first', *range(10, 15), 18, 15, 16]


def test_broken_lines_and_files(tmp_path):
    (tmp_path / 'in').mkdir()
    path, _ = SETS['YOLO'](tmp_path / 'in')
    file = path.parent / 'labels' / 'val' / 'b.txt'
    file.write_text(file.read_text() + '0 0.1 0.2 0.3\n1 a b c d e f\n')
    report = refine_annotations(ToyRefiner(), path, out=tmp_path / 'out')
    assert [item.key for item in report.of('failed')] == [
        'labels/val/b.txt:3',
        'labels/val/b.txt:4',
    ]
    assert len(report.of('refined')) >= 3
    new = (tmp_path / 'out' / 'labels' / 'val' / 'b.txt').read_text()
    assert new.splitlines()[2:] == file.read_text().splitlines()[2:]


def _dry(path, images, out):
    report = refine_annotations(None, path, images=images, out=out, dry_run=True)
    return report, {item.key: item.reason for item in report.of('failed')}


def test_odd_coco_files(tmp_path):
    path, images = coco(tmp_path)
    data = json.loads(path.read_text())
    good = data['annotations'][0]
    data['images'] += [
        None,
        {'id': 8},
        {'id': 9, 'file_name': 'b.png', 'height': 95.0, 'width': 128.0},
    ]
    data['categories'].append(None)
    data['annotations'] = [good, None, 5, {**good, 'id': 7, 'image_id': 8}]
    data['annotations'].append({**good, 'id': 8, 'image_id': 9})
    text = json.dumps(data)
    path.write_text(text)
    report, failed = _dry(path, images, tmp_path / 'out.json')
    assert list(failed) == ['image #2', '#1', '#2'] and 'no object' in failed['image #2']
    assert 'does not name its photo' in report.faults['8'] and '128 x 95' in report.faults['9']
    assert [item.key for item in report.of('kept')] == ['first']
    assert (tmp_path / 'out.json').read_text() == text
    for end in (text.index('b.png') + 2, text.index('segmentation') + 40, len(text) - 1):
        path.write_text(text[:end])
        with pytest.raises((FileError, InvalidValueError), match='set.json'):
            _dry(path, images, tmp_path / 'cut.json')


def test_odd_yolo_files(tmp_path):
    (tmp_path / 'in').mkdir()
    path, _ = SETS['YOLO'](tmp_path / 'in')
    label = path.parent / 'labels' / 'val' / 'b.txt'
    line = label.read_bytes().split(b'\r\n')[0]
    # A class as a float, a byte of another encoding, a confidence, a line of NaN.
    odd = [b'1.0' + line[1:], line + b' \xe4', line + b' 0.87', b'0 nan 0 1 0 1 1', line + b' \t']
    label.write_bytes(b'\n'.join(odd))
    (path.parent / 'labels' / 'classes.txt').write_text('1\n2\n')  # as labelImg writes it
    report, failed = _dry(path, None, tmp_path / 'out')
    assert [key.rpartition(':')[2] for key in failed] == ['4', '2', '3']
    assert (
        'no number' in failed['labels/val/b.txt:2']
        and 'confidence' in failed['labels/val/b.txt:3']
    )
    assert (tmp_path / 'out' / 'labels' / 'classes.txt').is_file()
    refine_annotations(ToyRefiner(), path, out=tmp_path / 'again', max_change=1)
    new = (tmp_path / 'again' / 'labels' / 'val' / 'b.txt').read_bytes().split(b'\n')
    assert new[1:4] == odd[1:4] and new[0] != odd[0] and new[0].startswith(b'1.0 ')
    path.write_text('names: [a, b]\nkpt_shape: [2, 3]\n')
    with pytest.raises(InvalidValueError, match='set of poses'):
        _dry(path, None, tmp_path / 'poses')


def test_odd_shapes_of_labelme_and_cvat(tmp_path):
    folder, _ = SETS['LabelMe'](tmp_path / 'a')
    path = folder / 'müller.json'
    data = json.loads(path.read_text())
    data['shapes'] += [None, {'label': 'x', 'points': [[1, 2], ['a', 3], [4, 5]]}, {'label': 'y'}]
    path.write_text(json.dumps(data))
    (folder / 'other.json').write_text('{"shapes": null}')
    report, failed = _dry(folder, None, tmp_path / 'out')
    wanted = [f'müller.json:{n}' for n in (3, 4, 5)]
    assert list(failed) == [*wanted, 'other.json'] and len(report.of('kept')) == 3
    path, images = SETS['CVAT for images'](folder)
    text = path.read_text()
    shapes = ''.join(f'<polygon label="x" points="{p}"/>' for p in ('', '1,2;3', '1,2;3,4'))
    odd = shapes + '<skeleton label="s"><polygon points="1,2"/></skeleton><ellipse label="e"/>'
    path.write_text(text.replace('</image>', f'{odd}</image>'))
    report, failed = _dry(path, images, tmp_path / 'out.xml')
    assert list(failed) == ['image 0:2', 'image 0:3', 'image 0:4'] and len(report.of('kept')) == 2
    path.write_text(
        '<annotations><track id="0"><polygon points="1,2;3,4;5,6"/></track></annotations>'
    )
    with pytest.raises(InvalidValueError, match='tracks of a video'):
        _dry(path, images, tmp_path / 'video.xml')


def test_odd_maps(tmp_path):
    path, _ = SETS['PASCAL VOC'](tmp_path / 'voc')
    for name in ('2.png', '3.png'):
        Image.fromarray(photo(objects())).save(path / 'JPEGImages' / name)
    shutil.copy(path / 'SegmentationClass' / '2007_1.png', path / 'SegmentationClass' / '2.png')
    Image.fromarray(photo(objects())).save(path / 'SegmentationObject' / '3.png')
    (path / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\n')
    report, failed = _dry(path, None, tmp_path / 'out')
    assert list(failed) == ['SegmentationObject/3.png'] and 'mode RGB' in str(failed)
    # A photo without a map of objects has a map of classes.
    assert [item.key for item in report.objects][:2] == [
        f'SegmentationClass/2.png:{n}' for n in (5, 15)
    ]
    assert (tmp_path / 'out' / 'labelmap.txt').is_file()
    for name in ('photos', 'labels'):
        (tmp_path / name).mkdir()
    Image.fromarray(photo(objects()[:1])).save(tmp_path / 'photos' / 'a.png')
    label, arguments = tmp_path / 'labels' / 'a.png', (tmp_path / 'labels', tmp_path / 'photos')
    Image.fromarray(coarse(objects()[0])).save(label)  # of one bit
    out = tmp_path / 'bits'
    report = refine_annotations(ToyRefiner(), arguments[0], images=arguments[1], out=out)
    assert len(report.of('refined')) == 2
    with Image.open(out / 'a.png') as new:
        assert new.mode == '1' and binary_iou(np.asarray(new), objects()[0]) > 0.98
    Image.fromarray(coarse(objects()[0]).astype(np.uint8) * 255).save(label)
    with pytest.raises(InvalidValueError, match='masks of 0 and 255'):
        _dry(*arguments, tmp_path / 'masks')


def test_what_is_no_set(tmp_path):
    with pytest.raises(MissingFileError, match='does not exist'):
        open_annotations(tmp_path / 'x.json')
    (tmp_path / 'x.json').write_text('[1, 2]')
    with pytest.raises(InvalidValueError, match='none of the formats'):
        open_annotations(tmp_path / 'x.json')
    path, _ = coco(tmp_path)
    with pytest.raises(InvalidValueError, match='images'):
        open_annotations(path)
