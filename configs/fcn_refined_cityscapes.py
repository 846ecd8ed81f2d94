# FCN (MMSeg's public weights) and the shipped refiner on Cityscapes, scene parsing.
_base_ = [
    'mmseg::fcn/fcn_r101-d8_4xb2-80k_cityscapes-512x1024.py',
    './_base_/refined/cityscapes.py',
]
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    strategy={{_base_.strategy}},
)
load_from = (
    'https://download.openmmlab.com/mmsegmentation/v0.5/'
    'fcn/fcn_r101-d8_512x1024_80k_cityscapes/'
    'fcn_r101-d8_512x1024_80k_cityscapes_20200606_113038-3fb937eb.pth'
)
test_evaluator = {{_base_.before_and_after}}
tta_model = dict(type='RefinedSegTTAModel')
