# EncNet and the shipped refiner on relabelled PASCAL VOC 2012, per object, Global step. MMSeg
# has published no weights of this one: train them with its config and give tools/test.py the
# checkpoint.
_base_ = [
    'mmseg::encnet/encnet_r101-d8_4xb4-40k_voc12aug-512x512.py',
    './_base_/refined/voc_relabelled.py',
]
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    strategy={{_base_.strategy}},
)
test_dataloader = {{_base_.objects}}
test_evaluator = {{_base_.before_and_after}}
tta_pipeline = None
