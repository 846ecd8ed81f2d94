"""The forms that requests over HTTP fill in."""

import re
from typing import Annotated, Any, Literal

from mmseg_cascadepsp.cascade import call_settings
from mmseg_cascadepsp.files.mask_values import Reading, parse_values

from . import extra

with extra():
    from fastapi import UploadFile
    from pydantic import BaseModel, ConfigDict, Field

#: Longer sides that requests may ask of the network. Memory grows with the square, and the number
#: of crops without bound towards the package's least, 66.
MIN_L, MAX_L = 224, 1800


class PhotoForm(BaseModel):
    """What both kinds of requests have."""

    model_config = ConfigDict(extra='forbid', protected_namespaces=())

    image: Annotated[
        UploadFile, Field(description='The photo: PNG, JPEG, TIFF, WebP, BMP, GIF, PPM ...')
    ]
    model: Annotated[str | None, Field(description='One of /v1/models. By default the first.')] = (
        None
    )
    L: Annotated[
        int | None,
        Field(ge=MIN_L, le=MAX_L, description='Side of what the network sees at once.'),
    ] = None
    fast: Annotated[
        bool | None,
        Field(description='True: Global step alone. False: Local step for small photos, too.'),
    ] = None
    crops: Annotated[
        Literal['uniform', 'adaptive'] | None,
        Field(description='As few crops as cover the boundary (adaptive), or the whole grid.'),
    ] = None
    overview: Annotated[
        float | None,
        Field(ge=0, lt=1, description='Share of L at which the whole photo is looked over first.'),
    ] = None
    guided_filter: Annotated[
        bool | None, Field(description='Whether boundaries are drawn to edges of the photo.')
    ] = None
    exif: Annotated[
        Literal['apply', 'ignore'] | None,
        Field(description='Whether pictures are turned as their EXIF orientation says.'),
    ] = None

    def changes(self) -> dict[str, Any]:
        """Settings of the cascade that differ from the model's."""
        names = {'crops', 'overview', 'guided_filter', 'region', 'max_change', 'keep_accurate'}
        given = self.model_dump(include=names, exclude_none=True)
        return given | call_settings(self.fast, self.L)


class RefineForm(PhotoForm):
    """Fields of ``POST /v1/refine``."""

    mask: Annotated[
        UploadFile, Field(description='Its coarse mask: 0/255, 0/1, soft values, or alpha.')
    ]
    region: Annotated[
        Literal['auto', 'photo', 'object'] | None,
        Field(description='Whether the whole photo is looked at, or regions around the object.'),
    ] = None
    max_change: Annotated[
        float | None,
        Field(ge=0, le=1, description='A mask of which more would change stays as it was.'),
    ] = None
    keep_accurate: Annotated[
        bool | None,
        Field(description="Whether a mask that lies on the photo's edges stays as it was."),
    ] = None
    resize_mask: Annotated[
        bool, Field(description='Whether a mask of another size is brought to the photo.')
    ] = False
    threshold: Annotated[
        float, Field(ge=0, lt=1, description='Probability above which a pixel is object.')
    ] = 0.5
    mask_values: Annotated[
        str | None,
        Field(description='Values of the mask that are the object, with commas, or "soft".'),
    ] = None
    ignore: Annotated[
        int | None, Field(description='Value of the mask that counts as background.')
    ] = None
    output: Annotated[
        Literal['mask', 'probability', 'rle'] | None,
        Field(
            description='mask: PNG of 0 and 255. probability: PNG, 255 times the probability. '
            'rle: JSON with run lengths. By default rle if application/json alone is accepted, '
            'else mask.'
        ),
    ] = None

    def reading(self) -> Reading:
        """How the mask is to be read."""
        values = None if self.mask_values is None else parse_values(self.mask_values)
        return Reading(values, self.ignore, self.exif)


class SemanticForm(PhotoForm):
    """Fields of ``POST /v1/refine_semantic``."""

    labels: Annotated[
        UploadFile, Field(description='Its label map: grey or palette, an id for each pixel.')
    ]
    strategy: Annotated[
        Literal['scene', 'semantic', 'binary', 'auto'],
        Field(description='scene: parts in regions of their own. semantic: classes as wholes.'),
    ] = 'scene'
    stuff: Annotated[
        str,
        Field(
            description='Classes behind the objects: ids or names with commas, a known set such '
            'as ade20k, or auto.'
        ),
    ] = 'auto'
    background: Annotated[
        str | None, Field(description='Id or name of the class that takes what others give up.')
    ] = None
    ignore_index: Annotated[
        int | None, Field(description='Id of void pixels, which stay as they are.')
    ] = 255
    classes: Annotated[
        str | None, Field(description='Names of all classes, in order, with commas.')
    ] = None
    output: Annotated[
        Literal['labels', 'rle'] | None,
        Field(
            description='labels: grey PNG of the ids, 16 bits if one is above 255. rle: JSON with '
            'run lengths of each class. By default as for masks.'
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Those of :meth:`mmseg_cascadepsp.Refiner.refine_semantic`."""
        stuff: str | list = self.stuff
        if ',' in stuff or isinstance(_id_or_name(stuff), int):
            stuff = [_id_or_name(value) for value in _listed(stuff)]
        return {
            'strategy': self.strategy,
            'stuff': stuff,
            'background': None if self.background is None else _id_or_name(self.background),
            'ignore_index': self.ignore_index,
            'classes': None if self.classes is None else _listed(self.classes),
        }


ARGUMENTS = {*RefineForm.model_fields, *SemanticForm.model_fields}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(',') if part.strip()]


def _id_or_name(text: str) -> int | str:
    # No longer one is an id, and int() takes neither '²' nor more than 4300 digits.
    return int(text) if re.fullmatch(r'\s*[0-9]{1,18}\s*', text) else text.strip()
