# Objects of BIG (paper, section 4.2, Table 3): the segmentor sees the longer side at 512, its
# output is enlarged bicubically, the refiner works at full resolution with Global and Local
# step.
custom_imports = dict(imports=['mmseg_cascadepsp'], allow_failed_imports=False)
custom_hooks = [dict(type='RefinedResultsHook')]
strategy = dict(type='binary', steps='both')
before_and_after = dict(_delete_=True, type='RefinementMetric')
data_help = (
    'get BIG that github.com/hkchengrex/CascadePSP links in docs/dataset.md and put its '
    'test set at data/BIG/test: NAME_im.jpg beside NAME_gt.png (docs/chaining.md)'
)
objects_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadMasks'),  # behind Resize: the truth keeps its size
    dict(type='PackRefinedInputs'),
]
objects = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BIGDataset', data_root='data/BIG/test', pipeline=objects_pipeline),
)
