# Second stage of the shipped refiner: larger crops, with context nearer to that of whole photos.
# load_from is the checkpoint of cascadepsp_lite.py.
_base_ = './cascadepsp_lite.py'
crop_size = 320
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMasks'),
    dict(type='RandomZoomCrop', size=crop_size, zoom=(0.7, 2.0), min_share=0.02),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='PerturbMask', iou_target=(0.8, 1.0))],
            [dict(type='SimulateOutputStride', stride=(4, 48), displacement=0.8, noise=0.3)],
        ],
        prob=[0.4, 0.6],
    ),
    dict(type='PackRefinementInputs'),
]
train_dataloader = dict(batch_size=3, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
max_iters = 1500
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=100),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=100,
        end=max_iters,
        T_max=max_iters - 100,
        eta_min=5e-6,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=500)
load_from = 'work_dirs/cascadepsp_lite/iter_3000.pth'
