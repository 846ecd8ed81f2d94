# For small segmentors on two CPU cores: AdamW in bfloat16 from ImageNet weights.
max_iters = 600
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-2),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=100),
    dict(type='PolyLR', by_epoch=False, begin=100, end=max_iters, power=0.9, eta_min=1e-6),
]
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=300)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
