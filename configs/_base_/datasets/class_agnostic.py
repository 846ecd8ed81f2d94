# Pairs of photos and masks: <data_root>/{train,val}/{images,masks}, or several sets side by side:
# <data_root>/{train,val}/<set>/{images,masks}. Validation perturbs the true masks, always alike.
# The root comes from --data-root or the environment variable MMSEG_CASCADEPSP_DATA.
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
crop_size = 224
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='LoadMasks'),
    dict(type='RandomZoomCrop', size=crop_size),
    dict(type='FlipPair', prob=0.5),
    dict(type='ColorJitter', brightness=0.2, contrast=0.05, saturation=0.05, grey=0.1),
    dict(type='PerturbMask', iou_target=(0.8, 1.0)),
    dict(type='PackRefinementInputs'),
]
val_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='LoadMasks'),
    dict(type='PerturbMask', seed=0),
    dict(type='PackRefinementInputs'),
]
train_dataloader = dict(
    batch_size=9,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ResumableSampler', shuffle=True),
    dataset=dict(
        type='ClassAgnosticDataset',
        data_root=data_root + '/train',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClassAgnosticDataset',
        data_root=data_root + '/val',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='RefinementMetric')
test_evaluator = val_evaluator
