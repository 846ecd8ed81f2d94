# The paper's schedule (section 4.2): Adam, 30,000 iterations at 3e-4 and as many at 3e-5, batch 9.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=3e-4, weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[30000], gamma=0.1)]
train_cfg = dict(type='ResumableTrainLoop', max_iters=60000, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
