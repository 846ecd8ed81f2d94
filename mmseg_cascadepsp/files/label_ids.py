"""Class indices, and the numbers that a dataset's files have for them."""

from collections.abc import Mapping

import numpy as np

VOID = 255


def told_mask(labels: np.ndarray, name: object, void: int | None = VOID) -> str | None:
    """Tell whether a label map looks like the mask of an object, all of which is void.

    Args:
        labels: ``(H, W)``, integers.
        name: Of the map, for the sentence.
        void: Id of void.

    Returns:
        A sentence for a warning, or None.

    Example:
        >>> told_mask(np.array([[0, 1, 255]]), 'a.png') is None
        True
        >>> told_mask(np.array([[0, 255]]), 'a.png')[:40]
        'a.png holds 0 and 255 alone, and 255 is '
    """
    if void is None or not ((labels == void).any() and (labels == 0).any()):
        return None
    if not ((labels == void) | (labels == 0)).all():
        return None
    return (
        f'{name} holds 0 and {void} alone, and {void} is void here, which stays as it is: if it '
        f'is the mask of an object, write it as class ids (labels == {void} is the object, such '
        'as 1), or refine it as a mask.'
    )


def from_dataset_ids(
    labels: np.ndarray, reduce_zero_label: bool = False, label_map: Mapping[int, int] | None = None
) -> np.ndarray:
    """Numbers of annotation files -> class indices, as MMSeg's ``LoadAnnotations`` does it.

    Args:
        labels: ``(H, W)``, integers. 255 is void.
        reduce_zero_label: Whether 0 is void, too, and all others are one too high (ADE20K).
        label_map: Old index -> new index, where only some classes are used.

    Returns:
        ``(H, W)``, class indices.

    Example:
        >>> from_dataset_ids(np.array([0, 1, 150, 255]), reduce_zero_label=True).tolist()
        [255, 0, 149, 255]
    """
    if reduce_zero_label:
        labels = np.where((labels == 0) | (labels == VOID), VOID, labels - 1)
    return _replace(labels, label_map or {})


def to_dataset_ids(
    labels: np.ndarray,
    reduce_zero_label: bool = False,
    label_map: Mapping[int, int] | None = None,
    void: int | None = VOID,
) -> np.ndarray:
    """Class indices -> numbers of annotation files, as evaluation servers want them.

    Args:
        labels, reduce_zero_label, label_map: See :func:`from_dataset_ids`.
        void: Id of void. None: 255 is a class as others are.

    Returns:
        ``(H, W)``, numbers of the files.

    Example:
        >>> to_dataset_ids(np.array([255, 0, 149]), reduce_zero_label=True).tolist()
        [0, 1, 150]
    """
    labels = _replace(labels, {new: old for old, new in (label_map or {}).items() if new != void})
    return np.where(labels == void, 0, labels + 1) if reduce_zero_label else labels


def _replace(labels: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    result = labels.copy()
    for old, new in table.items():
        result[labels == old] = new
    return result
