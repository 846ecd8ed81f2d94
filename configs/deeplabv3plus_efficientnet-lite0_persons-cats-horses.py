# The small segmentor that the package ships for its demo: persons, cats and horses.
_base_ = [
    './_base_/models/deeplabv3plus_efficientnet-lite0.py',
    './_base_/datasets/persons_cats_horses.py',
    './_base_/schedules/schedule_small_segmentor.py',
    './_base_/default_runtime.py',
]
# All stages: what a thing is counts more here than where it ends.
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(out_indices=(1, 6)),
    decode_head=dict(in_channels=320, dilations=(1, 2, 4, 6), num_classes=4),
)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
