# Photo in, refined label map of persons, cats and horses out: both networks come with the package.
_base_ = './deeplabv3plus_efficientnet-lite0_persons-cats-horses.py'
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    # As the paper: the Local step for photos larger than L alone.
    strategy=dict(type='semantic', enlarge=False),
)
# The refiner sees the photo's own pixels, also those of an array in place of a file.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='KeepOriginalImage'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackRefinedInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
load_from = 'package://mmseg_cascadepsp/weights/deeplabv3plus_persons-cats-horses.pth'
test_evaluator = dict(_delete_=True, type='BoundarySegMetric')
custom_hooks = [dict(type='RefinedResultsHook')]
