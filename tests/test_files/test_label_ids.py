"""Class indices and the numbers in files: MMSeg's reading is the reference."""

import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_cascadepsp.files import from_dataset_ids, to_dataset_ids
from tests.chaining import write_picture


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 2, 1: 255, 2: 0, 3: 1}])
def test_reads_as_mmseg_does_and_back(tmp_path, reduce_zero_label, label_map):
    numbers = np.uint8([[0, 1, 2, 3], [4, 4, 2, 255]])
    write_picture(tmp_path / 'labels.png', numbers)
    wanted = LoadAnnotations().transform(
        dict(
            seg_map_path=str(tmp_path / 'labels.png'),
            reduce_zero_label=reduce_zero_label,
            label_map=label_map,
            seg_fields=[],
        )
    )['gt_seg_map']
    labels = from_dataset_ids(numbers.astype(np.int32), reduce_zero_label, label_map)
    np.testing.assert_array_equal(labels, wanted)
    again = from_dataset_ids(
        to_dataset_ids(labels, reduce_zero_label, label_map), reduce_zero_label, label_map
    )
    np.testing.assert_array_equal(again, labels)
