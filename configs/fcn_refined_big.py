# FCN (MMSeg's public weights) and the shipped refiner on BIG, per object, Global and Local
# step.
_base_ = ['mmseg::fcn/fcn_r101-d8_4xb4-40k_voc12aug-512x512.py', './_base_/refined/big.py']
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    strategy={{_base_.strategy}},
    enlarge='labels',
)
load_from = (
    'https://download.openmmlab.com/mmsegmentation/v0.5/'
    'fcn/fcn_r101-d8_512x512_40k_voc12aug/'
    'fcn_r101-d8_512x512_40k_voc12aug_20200613_161240-4c8bcefd.pth'
)
test_dataloader = {{_base_.objects}}
test_evaluator = {{_base_.before_and_after}}
tta_pipeline = None
