# Table 1, "Vanilla FCN": one pass, its output of stride 8 enlarged; no upsampling blocks.
_base_ = './final.py'
model = dict(decode_head=dict(strides=(8,)))
