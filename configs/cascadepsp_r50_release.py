# CascadePSP with the schedule of the authors' released code: 45,000 iterations of batch 12.
_base_ = './cascadepsp_r50.py'
train_dataloader = dict(batch_size=12)
optim_wrapper = dict(optimizer=dict(lr=2.25e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[22500, 37500], gamma=0.1)]
train_cfg = dict(max_iters=45000)
