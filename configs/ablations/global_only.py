# Table 2, "Global step only": the weights of final.py.
_base_ = './final.py'
model = dict(test_cfg=dict(steps='global'))
