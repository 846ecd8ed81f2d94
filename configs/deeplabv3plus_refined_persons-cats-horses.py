# Photo in, refined label map of persons, cats and horses out: both networks come with the package.
_base_ = './deeplabv3plus_efficientnet-lite0_persons-cats-horses.py'
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    # As the paper: the Local step for photos larger than L alone.
    strategy=dict(type='semantic', local='auto', enlarge=False),
)
load_from = 'package://mmseg_cascadepsp/weights/deeplabv3plus_persons-cats-horses.pth'
test_evaluator = dict(type='BoundarySegMetric')
custom_hooks = [dict(type='RefinedResultsHook')]
tta_model = dict(type='RefinedSegTTAModel')
