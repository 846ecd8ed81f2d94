# Table 1, "L1+L2 loss only": at every stride, with weight 1.
_base_ = './final.py'
l1l2 = dict(type='L1L2Loss', l1_weight=1.0, l2_weight=1.0)
model = dict(decode_head=dict(losses=dict(s8=[l1l2], s4=[l1l2], s1=[l1l2])))
