# A small DeepLabV3+ on CamVid, for python tools/test.py CONFIG CHECKPOINT --refiner lite.
_base_ = [
    './_base_/models/deeplabv3plus_efficientnet-lite0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/schedule_small_segmentor.py',
    './_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
