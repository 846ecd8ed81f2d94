# Table 1, "CE and L1+L2 loss only": the final losses without that of the gradient.
_base_ = './final.py'
model = dict(
    decode_head=dict(losses=dict(s1=[dict(type='L1L2Loss', l1_weight=1.0, l2_weight=1.0)]))
)
