"""Maps of classes as GeoTIFF in, polygons as GeoJSON or GeoPackage out."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from mmseg_cascadepsp.cascade import Box
from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingPackageError, one_line
from mmseg_cascadepsp.files.opening import TIFF_STARTS
from mmseg_cascadepsp.files.rows import ImageRows

from .base import Entry, Photo, by_file, write_bytes
from .coverage import coverage_of
from .maps import VOID, MapPhoto, Maps, area_objects, painted, replaced_objects
from .masks import shapely

#: Side of a window, in pixels, and how far it is seen over on every side.
SIDE, MARGIN = 2048, 256
#: Areas with fewer pixels are specks.
SPECK = 16
#: Of coordinates in degrees: a tenth of a millimetre.
DECIMALS = 9
_KEPT = ('uint8', 'int16', 'uint16')


class Window(NamedTuple):
    """A part of a map.

    Attributes:
        own: The pixels that are taken of it.
        seen: Those and a margin, which are refined.
    """

    own: Box
    seen: Box


def windows(size: tuple[int, int], side: int = SIDE, margin: int = MARGIN) -> list[Window]:
    """Cover a map with windows of about the same size.

    Args:
        size: (H, W).
        side: Of a window, at most.
        margin: How far it is seen over on every side.

    Returns:
        Windows from the top to the bottom. Their own pixels are all pixels, once.

    Example:
        >>> [window.own for window in windows((100, 90), 50, 10)][:2]
        [Box(top=0, left=0, bottom=50, right=45), Box(top=0, left=45, bottom=50, right=90)]
    """
    rows, columns = (
        [length * i // -(-length // side) for i in range(-(-length // side) + 1)]
        for length in size
    )
    return [
        Window(
            Box(top, left, bottom, right),
            Box(
                max(0, top - margin),
                max(0, left - margin),
                min(size[0], bottom + margin),
                min(size[1], right + margin),
            ),
        )
        for top, bottom in zip(rows, rows[1:], strict=False)
        for left, right in zip(columns, columns[1:], strict=False)
    ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A raster by rasterio, whose faults name the file."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            with rasterio.open(path) as data:
                yield data
    except RasterioError as error:
        raise FileError(f'{path} cannot be read: {one_line(error)}.') from error


def _moved(points: np.ndarray, transform) -> np.ndarray:
    """Points ``(n, 2)``, x and y in pixels, where a raster's transform puts them."""
    a, b, c, d, e, f = transform[:6]
    return points @ np.array([[a, d], [b, e]]) + np.array([c, f])


class GeoTiffSet(Maps):
    """A map of classes, one band of a GeoTIFF, that becomes polygons: every connected part of a
    class is an object. See :class:`AnnotationSet`.

    What the file says is no data is void. If it says nothing, 255 is. The map and its photo are
    read in windows, each a photo of the set. The map itself is whole in memory.
    """

    name = 'GeoTIFF'
    complete = True
    endings = ('.geojson', '.json', '.gpkg')

    def __init__(self, path: Path, images: Path | None = None) -> None:
        try:
            import pyogrio  # noqa: F401
            import rasterio  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                'maps as GeoTIFF need rasterio and pyogrio: '
                'pip install "mmseg_cascadepsp[annotations]" brings them.'
            ) from error
        self.path = path
        if images is None or not images.is_file():
            raise InvalidValueError(
                f'images must be the photo of {path}, a GeoTIFF of the same pixels, got {images}.'
            )
        self.photo = images
        with _opened(path) as data:
            if data.count != 1:
                raise InvalidValueError(
                    f'{path} has {data.count} bands; a map of classes has one. Write that band '
                    'alone (gdal_translate -b).'
                )
            self.size, self.nodata, self.dtype = data.shape, data.nodata, data.dtypes[0]
            place = data.crs, data.transform
        self._rows = ImageRows(images)
        if self._rows.shape != self.size:
            raise InvalidValueError(
                f'{images} is of {self._rows.shape[1]} x {self._rows.shape[0]} pixels, {path} of '
                f'{self.size[1]} x {self.size[0]}; bring them to the same grid (gdalwarp -te -tr).'
            )
        self.crs, self.transform = self._place(*place)
        self.windows = {f'{w.own.top},{w.own.left}': w for w in windows(self.size)}
        self._band: tuple[tuple[int, int], np.ndarray] | None = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        if not path.is_file():
            return False
        with open(path, 'rb') as file:
            return file.read(4) in TIFF_STARTS

    def _place(self, crs, transform):
        """Where the map is: as it says itself, or else its photo."""
        try:
            with _opened(self.photo) as data:
                other = data.crs, data.transform
        except FileError:  # of a kind that GDAL does not read
            other = None, transform
        if crs is None:
            crs, transform = other
        elif other[0] is not None:
            corners = np.array([[0, 0], [0, self.size[0]], [self.size[1], 0]])
            # Half a pixel of the map, whatever its units are.
            off = _moved(corners, other[1]) - _moved(corners, transform)
            if np.linalg.norm(off, axis=1).max() > 0.5 * np.linalg.norm(transform[:5:3]):
                raise InvalidValueError(
                    f'{self.path} and {self.photo} lie at other places on earth; bring them to '
                    'the same grid (gdalwarp -t_srs -te -tr).'
                )
        if crs is None or transform.is_identity:
            raise InvalidValueError(
                f'{self.path} does not say where on earth it is, and neither does {self.photo}; '
                'write it into the map (gdal_edit.py -a_srs -a_ullr).'
            )
        return crs, transform

    @cached_property
    def void(self) -> int:
        """The id of pixels without a class, an integer that no class has."""
        if self.nodata is None:
            return VOID
        whole = np.isfinite(self.nodata) and float(self.nodata).is_integer()
        return int(self.nodata) if whole and abs(self.nodata) < 2**31 else -1

    @cached_property
    def labels(self) -> np.ndarray:
        """The map, ``(H, W)``, not to be written to."""
        with _opened(self.path) as data:
            values = data.read(1)
            known = data.read_masks(1) != 0
        known &= values != self.void
        ids = values[known]
        if ids.size and (
            (ids.dtype.kind == 'f' and (ids != np.rint(ids)).any())
            or ids.min() < 0
            or ids.max() >= 2**31
        ):
            raise InvalidValueError(
                f'{self.path} must hold ids of classes, integers from 0 up, got values from '
                f'{ids.min()} to {ids.max()}; say which value is no data (gdal_edit.py '
                '-a_nodata), if some are none.'
            )
        fits = self.dtype in _KEPT and np.can_cast(np.min_scalar_type(self.void), self.dtype)
        labels = np.where(known, values, 0).astype(self.dtype if fits else np.int32)
        labels[~known] = self.void
        labels.setflags(write=False)
        return labels

    @cached_property
    def names(self) -> dict[int, str]:
        """Those of classes, where GDAL's file beside the map (``.aux.xml``) has them."""
        try:
            root = ElementTree.parse(self._aux).getroot()
        except (OSError, ElementTree.ParseError):
            return {}
        names = dict(enumerate(item.text or '' for item in root.iter('Category')))
        usages = [item.findtext('Usage') for item in root.iter('FieldDefn')]
        if '2' in usages and '5' in usages:  # GFU_Name and GFU_MinMax
            name, value = usages.index('2'), usages.index('5')
            for row in root.iter('Row'):
                cells = [cell.text or '' for cell in row.iter('F')]
                names[int(float(cells[value]))] = cells[name]
        return {key: name for key, name in names.items() if name}

    @property
    def _aux(self) -> Path:
        """GDAL's file beside the map, which need not be there."""
        return Path(f'{self.path}.aux.xml')

    def parts(self) -> list[Path]:
        """See :meth:`AnnotationSet.parts`."""
        return [self.path, self._aux]

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        found = []
        for key, window in self.windows.items():
            top, left, bottom, right = window.own
            name = f'{self.photo.name} [{top}:{bottom}, {left}:{right}]'
            size = self.labels[window.seen.slices].shape
            found.append(MapPhoto(Photo(key, name, size), lambda key=key: self.entries(key)))
        return found

    def entries(self, key: str) -> list[Entry]:
        """The objects of a window: those that have pixels of its own."""
        window = self.windows[key]
        own = window.own.relative_to(window.seen)
        found = area_objects(self.labels[window.seen.slices], key, self.void, self.names)
        return [entry for entry in found if entry.geometry.inside(own).any()]

    def photo_path(self, photo: Photo) -> Path:
        """See :meth:`AnnotationSet.photo_path`."""
        return self.photo

    def image(self, photo: Photo) -> np.ndarray:
        """See :meth:`AnnotationSet.image`."""
        top, left, bottom, right = self.windows[photo.key].seen
        if self._band is None or self._band[0] != (top, bottom):
            self._band = (top, bottom), self._rows.read(top, bottom)
        return np.ascontiguousarray(self._band[1][:, left:right])

    def refined(self, changes: Mapping[str, Any]) -> np.ndarray:
        """The map after the changes."""
        labels = self.labels.copy()
        for key, own in by_file(changes).items():
            window = self.windows[key]
            part = self.labels[window.seen.slices]
            objects = replaced_objects(self.entries(key), own)
            new = painted(part, objects, np.zeros(part.shape, bool), self.void)
            labels[window.own.slices] = new[window.own.relative_to(window.seen).slices]
        return self._without_new_specks(labels) if changes else labels

    def _without_new_specks(self, labels: np.ndarray) -> np.ndarray:
        """A refined map whose areas of a few pixels, that were not there before, are their largest
        neighbour's.
        """
        from rasterio.features import sieve

        known = (self.labels != self.void).astype(np.uint8)
        new, old = (
            sieve(part, SPECK, mask=known, connectivity=4) for part in (labels, self.labels)
        )
        return np.where((new != labels) & (old == self.labels), new, labels)

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> float:
        """Write the polygons: GeoJSON in longitude and latitude (RFC 7946), GeoPackage in the
        map's own coordinates. See :meth:`AnnotationSet.write`.
        """
        from rasterio.features import rasterize

        labels = self.refined(changes)
        polygons, values = coverage_of(labels, self.void, tolerance)
        other = 0.0
        if tolerance and len(values):
            found = rasterize(
                zip(polygons, values.tolist(), strict=True),
                labels.shape,
                fill=self.void,
                dtype=labels.dtype,
            )
            other = np.count_nonzero(found != labels) / labels.size
        polygons = shapely.transform(polygons, lambda points: _moved(points, self.transform))
        write_bytes(out, self._vectors(out, polygons, values))
        return other

    def _vectors(self, out: Path, polygons: np.ndarray, values: np.ndarray) -> bytes:
        """The content of a file of polygons."""
        import pyogrio

        fields = {'class_id': values.astype(np.int32)}
        if self.names:
            names = [self.names.get(value) for value in values.tolist()]
            fields['class_name'] = np.array(names, object)
        json = out.suffix.lower() != '.gpkg'
        options = {'RFC7946': 'YES', 'COORDINATE_PRECISION': DECIMALS} if json else {}
        # GeoPackage notes the time: that of the map, so that the same run gives the same file.
        changed = np.datetime64(int(self.path.stat().st_mtime), 's')
        pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': f'{changed}Z'})
        file = io.BytesIO()
        try:
            pyogrio.raw.write(
                file,
                geometry=shapely.to_wkb(polygons),
                field_data=list(fields.values()),
                fields=list(fields),
                crs=self.crs.to_wkt(),
                geometry_type='Polygon',
                driver='GeoJSON' if json else 'GPKG',
                layer='classes',
                **options,
            )
        finally:
            pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': None})
        return file.getvalue()
