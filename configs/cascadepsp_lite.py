# The small refiner that this project ships: trains on two CPU cores in bfloat16, or on a GPU.
_base_ = [
    './_base_/models/cascadepsp_lite.py',
    './_base_/datasets/class_agnostic.py',
    './_base_/schedules/schedule_60k.py',
    './_base_/default_runtime.py',
]
crop_size = 192
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMasks'),
    # Zooms from a whole small photo to the enlarged detail that the Local step sees.
    dict(type='RandomZoomCrop', size=crop_size, zoom=(0.45, 2.0), min_share=0.02),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='PerturbMask', iou_target=(0.8, 1.0))],
            [dict(type='SimulateOutputStride', stride=(4, 32))],
        ],
        prob=[0.5, 0.5],
    ),
    dict(type='PackRefinementInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        # The sets are small and lean on persons: the most varied ones count more.
        repeat=dict(bsds500_consensus=3, davis2016_val=2),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-2),
    clip_grad=dict(max_norm=5.0),
)
max_iters = 3000
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=max_iters, eta_min=1e-5),
]
train_cfg = dict(max_iters=max_iters, val_interval=1000)
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='MomentumAnnealingEMA',
        momentum=2e-3,
        gamma=100,
        update_buffers=True,
    )
]
