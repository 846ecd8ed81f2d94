# Table 1, "With OS1 only": one pass, which gives the output of stride 1 from the coarse mask.
_base_ = './final.py'
model = dict(decode_head=dict(strides=(1,)))
