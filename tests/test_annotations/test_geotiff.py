"""Maps of classes as GeoTIFF, refined, and their polygons as GeoJSON and GeoPackage."""

import json

import cv2
import numpy as np
import pytest

rasterio = pytest.importorskip('rasterio', reason='the extra annotations')
pyogrio = pytest.importorskip('pyogrio', reason='the extra annotations')
shapely = pytest.importorskip('shapely')
pytest.importorskip('pycocotools')

from rasterio.features import rasterize  # noqa: E402
from rasterio.transform import Affine, from_origin  # noqa: E402
from rasterio.warp import transform_geom  # noqa: E402

from mmseg_cascadepsp.annotations import geotiff, open_annotations, refine_annotations  # noqa: E402
from mmseg_cascadepsp.annotations.masks import cut_out  # noqa: E402
from mmseg_cascadepsp.errors import InvalidValueError  # noqa: E402

from .sets import ToyRefiner, coarse, disc  # noqa: E402

SIZE = 220, 260
PLACE = from_origin(691_000, 5_330_000, 0.2, 0.2)
TURNED = Affine(0.18, 0.085, 691_000, 0.085, -0.18, 5_330_000)
COLOURS = np.array([[20, 20, 20], [230, 20, 20], [20, 230, 20], [20, 20, 230]], np.uint8)
AUX = """<PAMDataset><PAMRasterBand band="1"><CategoryNames>
<Category></Category><Category>Dächer</Category><Category>water</Category>
</CategoryNames></PAMRasterBand></PAMDataset>"""


def true_map():
    labels = np.zeros(SIZE, np.uint8)
    for value, (y, x, radius) in enumerate([(60, 70, 40), (150, 120, 50), (60, 190, 45)], 1):
        labels[disc(y, x, radius, SIZE)] = value
    return labels


def drawn_map(void=255):
    """As a coarse model gives it, with void in a corner."""
    labels = true_map().astype(np.int32)
    for value in (1, 2, 3):
        labels[coarse(labels == value) & (labels == 0)] = value
    labels[-60:, -70:] = void
    return labels


def write(path, labels, place=PLACE, crs='EPSG:25832', nodata=None, dtype='uint8'):
    bands = labels[None] if labels.ndim == 2 else np.moveaxis(labels, -1, 0)
    profile = dict(count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=dtype)
    with rasterio.open(
        path, 'w', driver='GTiff', crs=crs, transform=place, nodata=nodata, **profile
    ) as data:
        data.write(bands.astype(dtype))
    return path


@pytest.fixture
def pair(tmp_path):
    photo = write(tmp_path / 'photo.tif', COLOURS[true_map()])
    return write(tmp_path / 'classes.tif', drawn_map()), photo


def read(path, place=PLACE, crs='EPSG:25832', fill=255, size=SIZE, dtype='uint8'):
    """Polygons by another reader, in the coordinates of the map, and the map that they are."""
    if path.suffix == '.gpkg':
        meta, _, wkb, fields = pyogrio.raw.read(path)
        assert meta['crs'] == crs
        shapes = shapely.from_wkb(wkb)
        rows = [dict(zip(meta['fields'], row, strict=True)) for row in zip(*fields, strict=True)]
    else:
        found = json.loads(path.read_text(encoding='utf-8'))['features']
        rows = [item['properties'] for item in found]
        shapes = [
            shapely.geometry.shape(transform_geom('EPSG:4326', crs, item['geometry']))
            for item in found
        ]
        for item in found:  # RFC 7946: longitude first, outer rings counterclockwise
            longitude, latitude = item['geometry']['coordinates'][0][0]
            assert 11 < longitude < 12 and 48 < latitude < 49
            assert shapely.geometry.shape(item['geometry']).exterior.is_ccw
        geojson = shapely.from_geojson([json.dumps(item['geometry']) for item in found])
        assert shapely.coverage_is_valid(geojson)
    values = [int(row['class_id']) for row in rows]
    shown = rasterize(
        zip(shapes, values, strict=True), size, fill=fill, transform=place, dtype=dtype
    )
    return rows, shown


@pytest.mark.parametrize('ending', ['geojson', 'gpkg'])
@pytest.mark.parametrize('place', [PLACE, TURNED], ids=['north-up', 'turned'])
def test_polygons_are_the_refined_map(ending, place, tmp_path):
    path = write(tmp_path / 'classes.tif', drawn_map(), place)
    photo = write(tmp_path / 'photo.tif', COLOURS[true_map()], place)
    out = tmp_path / f'out.{ending}'
    report = refine_annotations(ToyRefiner(), path, images=photo, out=out, simplify=0)
    assert not report.failed and len(report.of('refined')) >= 3
    rows, shown = read(out, place)
    changes = {item.key: item.geometry for item in report.objects if item.geometry is not None}
    refined = open_annotations(path, photo).refined(changes)
    assert (shown == refined).all()
    known = drawn_map() != 255
    assert ((refined == 255) == ~known).all()
    before = (drawn_map() != true_map())[known].mean()
    assert (refined != true_map())[known].mean() < 0.3 * before
    assert set(rows[0]) == {'class_id'}


def test_simplified_outlines_share_their_edges(pair, tmp_path):
    path, photo = pair
    maps = []
    for simplify in (0, 0.5, 2):
        out = tmp_path / f'{simplify}.gpkg'
        report = refine_annotations(
            ToyRefiner(),
            path,
            images=photo,
            out=out,
            simplify=simplify,
            report=tmp_path / f'{simplify}.html',
        )
        shapes = shapely.from_wkb(pyogrio.raw.read(out)[2])
        assert shapely.coverage_is_valid(shapes)
        maps.append(read(out)[1])
        assert report.simplified == (maps[-1] != maps[0]).mean()
        area = (maps[0] != 255).sum() * 0.04
        assert shapely.area(shapely.union_all(shapes)) == pytest.approx(area, rel=0.001)
    assert (maps[1] == maps[0]).all() and 0 < (maps[2] != maps[0]).mean() < 0.01
    page = (tmp_path / '2.html').read_text()
    assert 'pixels that outlines put in another class' in page and page.count('<figure') >= 3


def test_a_dry_run_draws_the_map_as_it_is(pair, tmp_path):
    path, photo = pair
    path.with_name('classes.tif.aux.xml').write_text(AUX)
    out = tmp_path / 'out.geojson'
    refine_annotations(None, path, images=photo, out=out, dry_run=True, simplify=0)
    rows, shown = read(out)
    assert (shown == drawn_map()).all()
    names = {row['class_id']: row['class_name'] for row in rows}
    assert names == {0: None, 1: 'Dächer', 2: 'water', 3: None}
    content = out.read_bytes()
    refine_annotations(None, path, images=photo, out=out, dry_run=True, simplify=0, overwrite=True)
    assert out.read_bytes() == content


def test_a_table_of_attributes_names_classes(pair):
    path, photo = pair
    usages = ''.join(f'<FieldDefn><Usage>{usage}</Usage></FieldDefn>' for usage in (5, 1, 2))
    path.with_name('classes.tif.aux.xml').write_text(
        f'<PAMDataset><PAMRasterBand><GDALRasterAttributeTable>{usages}'
        '<Row index="0"><F>2</F><F>9</F><F>lake</F></Row></GDALRasterAttributeTable>'
        '</PAMRasterBand></PAMDataset>'
    )
    assert open_annotations(path, photo).names == {2: 'lake'}


@pytest.mark.parametrize(
    'dtype, nodata',
    [('int16', -9999), ('float32', float('nan')), ('uint8', 0), ('uint32', 2**32 - 1)],
)
def test_no_data_stays_void(dtype, nodata, tmp_path):
    labels = drawn_map(0) + 1.0
    void = np.zeros(SIZE, bool)
    void[-60:, -70:] = True
    labels[void] = nodata
    path = write(tmp_path / 'classes.tif', labels, nodata=nodata, dtype=dtype)
    photo = write(tmp_path / 'photo.tif', COLOURS[true_map()])
    out = tmp_path / 'out.gpkg'
    refine_annotations(ToyRefiner(), path, images=photo, out=out)
    rows, shown = read(out, fill=-1, dtype='int32')
    assert ((shown == -1) == void).all()
    assert {row['class_id'] for row in rows} == {1, 2, 3, 4}


def test_there_are_no_new_specks(tmp_path):
    labels = drawn_map()
    labels[5, 5] = labels[-3, -3] = 2  # was there already, and lies in void
    path = write(tmp_path / 'classes.tif', labels)
    source = open_annotations(path, write(tmp_path / 'photo.tif', COLOURS[true_map()]))
    [entry] = [e for photo in source.photos() for e in photo.entries if e.label == '1']
    mask = entry.geometry.whole(SIZE)
    mask[5:8, 200:205] = mask[100:104, 10:14] = True  # 15 pixels, and 16
    size = source.photos()[0].size
    refined = source.refined({entry.key: source.encode(entry, cut_out(mask), size, 0)[0]})
    assert (refined[5:8, 200:205] == 0).all() and (refined[100:104, 10:14] == 1).all()
    assert refined[5, 5] == refined[-3, -3] == 2
    assert ((refined != labels).sum(), (refined == 255).sum()) == (16, (labels == 255).sum())


def test_windows_cover_every_pixel_once_and_objects_cross_them(pair, tmp_path, monkeypatch):
    for size in ((2048, 2049), (5000, 100), (4096, 6000)):
        seen = np.zeros(size, np.uint8)
        for window in geotiff.windows(size):
            seen[window.own.slices] += 1
            assert max(seen[window.own.slices].shape) <= 2048
        assert (seen == 1).all()
    path, photo = pair
    whole, parts = tmp_path / 'whole.gpkg', tmp_path / 'parts.gpkg'
    refine_annotations(ToyRefiner(), path, images=photo, out=whole, simplify=0)
    monkeypatch.setattr(geotiff, 'windows', lambda size, make=geotiff.windows: make(size, 100, 40))
    report = refine_annotations(
        ToyRefiner(), path, images=photo, out=parts, simplify=0, report=tmp_path / 'r.html'
    )
    assert not report.failed and len({item.photo for item in report.objects}) == 9
    one, other = read(whole)[1], read(parts)[1]
    assert (one != other).mean() < 0.002 and not ((one == 255) ^ (other == 255)).any()


def test_an_interrupted_run_goes_on(pair, tmp_path, monkeypatch):
    from .test_run import Stopping

    path, photo = pair
    monkeypatch.setattr(geotiff, 'windows', lambda size, make=geotiff.windows: make(size, 130, 20))
    for ending in ('geojson', 'gpkg'):
        whole, out = tmp_path / f'whole.{ending}', tmp_path / f'out.{ending}'
        refine_annotations(ToyRefiner(), path, images=photo, out=whole)
        with pytest.raises(KeyboardInterrupt):
            refine_annotations(Stopping(3), path, images=photo, out=out)
        assert not out.exists()
        refine_annotations(ToyRefiner(), path, images=photo, out=out)
        assert out.read_bytes() == whole.read_bytes()


def test_the_photo_tells_the_place_of_a_map_that_does_not(pair, tmp_path):
    path, photo = pair
    bare = write(tmp_path / 'bare.tif', drawn_map(), Affine.identity(), None)
    out = tmp_path / 'out.gpkg'
    refine_annotations(None, bare, images=photo, out=out, dry_run=True, simplify=0)
    assert (read(out)[1] == drawn_map()).all()
    cv2.imwrite(str(tmp_path / 'photo.png'), COLOURS[true_map()])
    with pytest.raises(InvalidValueError, match='does not say where on earth'):
        open_annotations(bare, tmp_path / 'photo.png')
    assert open_annotations(path, tmp_path / 'photo.png').name == 'GeoTIFF'


def test_what_does_not_fit_is_told(pair, tmp_path):
    path, photo = pair
    with pytest.raises(InvalidValueError, match='ends in .geojson, .json, .gpkg'):
        refine_annotations(ToyRefiner(), path, images=photo, out=tmp_path / 'out.tif')
    with pytest.raises(InvalidValueError, match='images must be the photo of .*classes.tif'):
        open_annotations(path, tmp_path)
    with pytest.raises(InvalidValueError, match='3 bands; a map of classes has one'):
        open_annotations(photo, photo)
    smaller = write(tmp_path / 'small.tif', COLOURS[true_map()][:-1])
    with pytest.raises(InvalidValueError, match='of 260 x 219 pixels, .* of 260 x 220'):
        open_annotations(path, smaller)
    other = write(
        tmp_path / 'other.tif', COLOURS[true_map()], from_origin(691_001, 5_330_000, 0.2, 0.2)
    )
    with pytest.raises(InvalidValueError, match='other places on earth'):
        open_annotations(path, other)
    shares = write(tmp_path / 'shares.tif', drawn_map() / 300, dtype='float32')
    with pytest.raises(InvalidValueError, match='must hold ids of classes'):
        open_annotations(shares, photo).photos()
