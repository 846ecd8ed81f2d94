# PSPNet (MMSeg's public weights) and the shipped refiner on ADE20K, scene parsing.
_base_ = ['mmseg::pspnet/pspnet_r101-d8_4xb4-80k_ade20k-512x512.py', './_base_/refined/ade20k.py']
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    strategy={{_base_.strategy}},
)
load_from = (
    'https://download.openmmlab.com/mmsegmentation/v0.5/'
    'pspnet/pspnet_r101-d8_512x512_80k_ade20k/'
    'pspnet_r101-d8_512x512_80k_ade20k_20200614_031423-b6e782f0.pth'
)
test_evaluator = {{_base_.before_and_after}}
tta_model = dict(type='RefinedSegTTAModel')
