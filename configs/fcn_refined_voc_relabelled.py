# FCN (MMSeg's public weights) and the shipped refiner on relabelled PASCAL VOC 2012, per
# object, Global step.
_base_ = [
    'mmseg::fcn/fcn_r101-d8_4xb4-40k_voc12aug-512x512.py',
    './_base_/refined/voc_relabelled.py',
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
    'fcn/fcn_r101-d8_512x512_40k_voc12aug/'
    'fcn_r101-d8_512x512_40k_voc12aug_20200613_161240-4c8bcefd.pth'
)
test_dataloader = {{_base_.objects}}
test_evaluator = {{_base_.before_and_after}}
tta_pipeline = None
