# A small DeepLabV3+ on CamVid, for python tools/test.py CONFIG CHECKPOINT --refiner lite.
_base_ = [
    './_base_/models/deeplabv3plus_efficientnet-lite0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/schedule_small_segmentor.py',
    './_base_/default_runtime.py',
]
max_iters = 1400
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    # Tversky counts every class alike: else poles, signs and riders are never learnt. (MMSeg's
    # class_weight cannot stand void pixels.)
    decode_head=dict(
        loss_decode=[
            dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            dict(type='TverskyLoss', loss_weight=1.0),
        ]
    ),
)
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=100),
    dict(type='PolyLR', by_epoch=False, begin=100, end=max_iters, power=0.9, eta_min=1e-6),
]
train_cfg = dict(max_iters=max_iters, val_interval=700)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
