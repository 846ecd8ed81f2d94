# Objects of PASCAL VOC 2012, relabelled by the authors, Global step (paper, section 4.2, Table
# 3).
custom_imports = dict(imports=['mmseg_cascadepsp'], allow_failed_imports=False)
custom_hooks = [dict(type='RefinedResultsHook')]
strategy = dict(type='binary', steps='global')
before_and_after = dict(_delete_=True, type='RefinementMetric')
data_help = (
    'get the relabelled PASCAL VOC 2012 that github.com/hkchengrex/CascadePSP links in '
    'docs/dataset.md, unpack it in data/voc_relabelled: 2007_000033_01_im.png beside '
    '2007_000033_01_gt.png (docs/chaining.md)'
)
objects_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadMasks'),  # behind Resize: the truth keeps its size
    dict(type='PackRefinedInputs'),
]
objects = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RelabelledVOCDataset', data_root='data/voc_relabelled', pipeline=objects_pipeline
    ),
)
