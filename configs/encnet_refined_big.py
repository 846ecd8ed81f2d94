# EncNet and the shipped refiner on BIG, per object, Global and Local step. MMSeg has published
# no weights of this one: train them with its config and give tools/test.py the checkpoint.
_base_ = ['mmseg::encnet/encnet_r101-d8_4xb4-40k_voc12aug-512x512.py', './_base_/refined/big.py']
model = dict(
    _delete_=True,
    type='RefinedSegmentor',
    segmentor={{_base_.model}},
    refiner='lite',
    strategy={{_base_.strategy}},
    enlarge='labels',
)
test_dataloader = {{_base_.objects}}
test_evaluator = {{_base_.before_and_after}}
tta_pipeline = None
