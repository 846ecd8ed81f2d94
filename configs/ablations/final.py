# What the ablations are compared with ("Ours - final" of the paper's Table 1, "Both steps" of
# Table 2): the small refiner, 1,000 iterations, and the Local step where the longer side is L or
# more, as in the paper. benchmarks/ablations.py trains and measures all; nothing is validated in
# between.
_base_ = '../cascadepsp_lite.py'
model = dict(guided_filter=None, overview=None, tidy=False, test_cfg=dict(enlarge=False))
max_iters = 1000
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=100),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=100,
        end=max_iters,
        T_max=max_iters - 100,
        eta_min_ratio=0.01,
    ),
]
train_cfg = dict(max_iters=max_iters)
val_dataloader = val_cfg = val_evaluator = None
default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1, save_best=None))
