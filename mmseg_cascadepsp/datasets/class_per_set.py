"""Label maps out of sets that show one class each."""

from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets.class_agnostic import ClassAgnosticDataset
from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError


@DATASETS.register_module()
class ClassPerSetDataset(ClassAgnosticDataset):
    """Sets of photos and masks, each of one class, as one data set with label maps: for training a
    segmentor on what :class:`ClassAgnosticDataset` reads. MMSeg's ``LoadAnnotations`` loads it.

    Pixels of a mask above 127 are of the class of its set, the others background. Masks have one
    channel.

    Args:
        class_of_set: set (sub-folder of ``data_root``) -> name of its class. Other sets are left
            out.
        kwargs: see :class:`ClassAgnosticDataset`. ``metainfo`` names the classes, background
            first.

    Raises:
        FileNotFoundError: the folder, or one of the sets, is missing.
        ValueError: a class is not among those of ``metainfo``.
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
        """None: every sample has its own, by its set."""

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
