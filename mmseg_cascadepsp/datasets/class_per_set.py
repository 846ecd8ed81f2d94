"""Label maps from sets that show one class each."""

from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .class_agnostic import ClassAgnosticDataset


@DATASETS.register_module()
class ClassPerSetDataset(ClassAgnosticDataset):
    """Several sets of photos and masks, each of one class, as one data set with label maps.

    A segmentor can be trained on it. Pixels of a mask above 127 are of the class of its set, the
    others are background. Masks must have one channel. MMSeg's ``LoadAnnotations`` loads them.

    Args:
        class_of_set: Set (sub-folder of ``data_root``) -> name of its class. Other sets are left
            out.
        metainfo: Its ``classes`` are the names of the classes, background first.
        kwargs: See :class:`ClassAgnosticDataset`.

    Raises:
        MissingFileError: The folder, or one of the sets, is missing.
        InvalidValueError: A class is not among those of ``metainfo``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import ClassPerSetDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/pets/images/a.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/pets/masks/a.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> prefix = dict(img_path='images', seg_map_path='masks')
        >>> dataset = ClassPerSetDataset(
        ...     dict(pets='cat'),
        ...     dict(classes=('background', 'person', 'cat')),
        ...     data_root=root,
        ...     data_prefix=prefix,
        ... )
        >>> len(dataset), dataset[0]['label_map'][255]
        (1, 2)
    """

    METAINFO = dict()

    def __init__(self, class_of_set: dict[str, str], metainfo: dict, **kwargs) -> None:
        classes = list(metainfo['classes'])
        unknown = sorted(set(class_of_set.values()) - set(classes[1:]))
        if unknown:
            raise InvalidValueError(
                f'class_of_set: {", ".join(unknown)} not among the classes after the background, '
                f'{classes[1:]}'
            )
        self.id_of_set = {name: classes.index(c) for name, c in class_of_set.items()}
        super().__init__(metainfo=metainfo, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: list | None = None) -> None:
        """Leave the map of labels to the samples: it differs from set to set.

        Args:
            new_classes: Not used.
        """

    def _sets(self) -> list[str]:
        found = super()._sets()
        lacking = sorted(set(self.id_of_set) - set(found))
        if lacking:
            raise MissingFileError(
                f'class_of_set: {self.data_root} has no set {", ".join(lacking)} with a folder '
                f'{self.data_prefix["img_path"]}'
            )
        return [name for name in found if name in self.id_of_set]

    def _label_map(self, name: str) -> dict[int, int]:
        return {value: self.id_of_set[name] if value > 127 else 0 for value in range(256)}
