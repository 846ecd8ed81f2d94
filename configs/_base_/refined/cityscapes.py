# Scene parsing on Cityscapes val: divide and conquer, "stuff" attenuated.
custom_imports = dict(imports=['mmseg_cascadepsp'], allow_failed_imports=False)
custom_hooks = [dict(type='RefinedResultsHook')]
strategy = dict(type='scene', stuff='cityscapes')
before_and_after = dict(_delete_=True, type='BoundarySegMetric')
data_help = (
    'get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from '
    'https://www.cityscapes-dataset.com (free account), unpack them in data/cityscapes and '
    'run cityscapesscripts for the _labelTrainIds.png (docs/chaining.md)'
)
