# A second training of the small refiner: objects put together of two photos, and those of CamVid's
# street frames (<data_root>/camvid, see docs/chaining.md). Goes on from the first, and the
# next ones go on from the mean of the three; docs/training.md has the order.
_base_ = './cascadepsp_lite.py'
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
crops = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMasks'),
    dict(type='RandomZoomCrop', size=288, zoom=(0.6, 2.2), min_share=0.02),
    dict(type='RandomFlip', prob=0.5),
]
train_pipeline = [
    dict(type='PasteObject', prob=0.35),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='PerturbMask', iou_target=(0.7, 1.0))],
            [dict(type='SimulateOutputStride', stride=(4, 56), displacement=0.9, noise=0.4)],
        ],
        prob=[0.3, 0.7],
    ),
    dict(type='PackRefinementInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='ConcatDataset',
            datasets=[
                dict(
                    type='ClassAgnosticDataset',
                    data_root=data_root + '/train',
                    data_prefix=dict(img_path='images', seg_map_path='masks'),
                    repeat=dict(bsds500_consensus=4, davis2016_val=3),
                    pipeline=crops,
                ),
                dict(
                    type='LabelMapObjectsDataset',
                    dataset=dict(
                        type='CamVidDataset',
                        data_root=data_root + '/camvid',
                        data_prefix=dict(
                            img_path='images/train', seg_map_path='annotations/train'
                        ),
                    ),
                    pick=dict(labels=[1, 6, 8, 9, 10], one='component', min_area=400, void=11),
                    pipeline=crops,
                ),
            ],
        ),
        pipeline=train_pipeline,
    )
)
optim_wrapper = dict(optimizer=dict(lr=7e-4))
max_iters = 1800
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
load_from = 'work_dirs/cascadepsp_lite/iter_2200.pth'
