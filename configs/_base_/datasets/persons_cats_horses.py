# Persons, cats and horses out of sets that show one of them each: <root>/{train,val}/<set>/
# {images,masks}, root from train.py's --data-root or the environment variable
# MMSEG_CASCADEPSP_DATA; test.py's --data-root is <root>/val.
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
class_of_set = dict(
    ccp_persons='person', human_removebg='person', feral_cats='cat', weizmann_horses='horse'
)
metainfo = dict(
    classes=('background', 'person', 'cat', 'horse'),
    palette=[[0, 0, 0], [192, 128, 128], [64, 0, 0], [192, 0, 128]],
)
crop_size = (320, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(512, 384), ratio_range=(0.4, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='ResumableSampler', shuffle=True),
    dataset=dict(
        type='ClassPerSetDataset',
        data_root=data_root + '/train',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        class_of_set=class_of_set,
        metainfo=metainfo,
        repeat=dict(feral_cats=3, weizmann_horses=2, human_removebg=2),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClassPerSetDataset',
        data_root=data_root + '/val',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        class_of_set=class_of_set,
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
