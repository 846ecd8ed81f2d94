"""The settings are checked where they are made."""

import numpy as np
import pytest

from mmseg_cascadepsp.cascade import CascadeSettings, FusionSettings, call_settings
from mmseg_cascadepsp.errors import UserError

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
    ('kind', 'options', 'words'),
    [
        (call_settings, {'fast': 'no'}, "fast must be True or False, got 'no'"),
        (call_settings, {'fast': 0}, 'fast must be True or False, got 0'),
        (CascadeSettings, {'levels': 1.0}, 'levels must be an integer, got 1.0'),
        (CascadeSettings, {'levels': 0}, 'levels must be at least 1, got 0'),
        (CascadeSettings, {'batch_size': INF}, 'batch_size must be an integer, got inf'),
        (CascadeSettings, {'overview': NAN}, 'overview must be from 0 to 1, got nan'),
        (CascadeSettings, {'enlarge': 'no'}, "enlarge must be True or False, got 'no'"),
        (CascadeSettings, {'steps': ['both']}, "steps must be one of .*got .'both'."),
        (CascadeSettings, {'steps': np.array(['both'])}, 'steps must be one of'),
        (FusionSettings, {'prior_weight': INF}, 'prior_weight must be at least 0, got inf'),
        (FusionSettings, {'ignore_index': 'x'}, "ignore_index must be an integer, got 'x'"),
        (FusionSettings, {'num_classes': 0}, 'num_classes must be at least 1, got 0'),
        (FusionSettings, {'max_components': 1.5}, 'max_components must be an integer, got 1.5'),
        (FusionSettings, {'background': -1}, 'background must be at least 0, got -1'),
        (FusionSettings, {'protect': 'no'}, "protect must be True or False, got 'no'"),
        (FusionSettings, {'bucket': 'x'}, "bucket must be an integer, got 'x'"),
        (FusionSettings, {'bucket': 12}, 'bucket must be a multiple of 8, got 12'),
        (FusionSettings, {'stuff': 'sky'}, "stuff must be ids of classes, got 'sky'"),
        (FusionSettings, {'keep': ['sky']}, "each id of keep must be an integer, got 'sky'"),
    ],
)
def test_nonsense_is_refused(kind, options, words):
    with pytest.raises(UserError, match=words):
        kind(**options)


def test_numbers_of_numpy_are_numbers():
    settings = CascadeSettings(L=np.int64(500), batch_size=np.int32(2), overview=np.float32(0.5))
    assert settings == CascadeSettings(L=500, batch_size=2, overview=0.5)
    fusion = FusionSettings(ignore_index=np.uint8(7), stuff=np.array([1, 2]).tolist())
    assert fusion == FusionSettings(ignore_index=7, stuff={1, 2})
