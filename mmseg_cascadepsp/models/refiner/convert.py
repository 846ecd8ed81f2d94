"""Renaming the weights of the authors' release."""

import re
from collections.abc import Mapping

from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError

#: Patterns of keys in the release's file, without ``module.``, and the keys of this package.
RELEASE_KEYS = (
    (r'feats\.(.+)', r'backbone.\1'),
    (r'psp\.stages\.(\d)\.1\.(.+)', r'decode_head.psp.stages.\1.\2'),
    (r'psp\.bottleneck\.(.+)', r'decode_head.psp.bottleneck.\1'),
    (r'up_1\.(.+)', r'decode_head.ups.0.\1'),
    (r'up_2\.(.+)', r'decode_head.ups.1.\1'),
    (r'up_3\.(.+)', r'decode_head.ups.2.\1'),
    (r'final_28\.(.+)', r'decode_head.outputs.8.\1'),
    (r'final_56\.(.+)', r'decode_head.outputs.4.\1'),
    (r'final_11\.(.+)', r'decode_head.outputs.1.0.\1'),
    (r'final_21\.(.+)', r'decode_head.outputs.1.2.\1'),
)


def rename_release_key(key: str) -> str | None:
    """Translate a key of the release's state dict.

    Args:
        key: Key in the release, with or without ``module.``.

    Returns:
        Key in this package, or None if the release has no such key.

    Example:
        >>> rename_release_key('module.up_1.conv.0.weight')
        'decode_head.ups.0.conv.0.weight'
    """
    key = key.removeprefix('module.')
    for pattern, name in RELEASE_KEYS:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name)
    return None


def is_release_state_dict(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether most keys of a state dict are those of the authors' release.

    Args:
        state_dict: Weights by key.

    Example:
        >>> is_release_state_dict({'module.feats.conv1.weight': None})
        True
    """
    known = sum(rename_release_key(key) is not None for key in state_dict)
    return known > len(state_dict) / 2


def convert_release_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the authors' release. Tensors are not copied.

    Args:
        state_dict: Weights by key of the release.

    Returns:
        Weights by key of this package.

    Raises:
        InvalidValueError: The release has no such key.

    Example:
        >>> list(convert_release_state_dict({'module.feats.conv1.weight': None}))
        ['backbone.conv1.weight']
    """
    renamed = {key: rename_release_key(key) for key in state_dict}
    strange = [key for key, name in renamed.items() if name is None]
    if strange:
        raise InvalidValueError(
            f'state_dict is not that of the CascadePSP release: {len(strange)} of '
            f'{len(state_dict)} keys do not belong to it, first {", ".join(strange[:3])}.'
        )
    return {renamed[key]: value for key, value in state_dict.items()}
