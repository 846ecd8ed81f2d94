# Table 1, "With OS8 & OS1 only": two passes.
_base_ = './final.py'
model = dict(decode_head=dict(strides=(8, 1)))
