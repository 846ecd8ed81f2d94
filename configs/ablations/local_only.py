# Table 2, "Local step only": the weights of final.py; crops start from the coarse mask itself.
_base_ = './final.py'
model = dict(test_cfg=dict(steps='local'))
