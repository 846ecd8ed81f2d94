# A refiner that runs in milliseconds: the code of the others, hardly any channels.
norm_cfg = dict(type='BN')
model = dict(
    type='CascadePSP',
    data_preprocessor=dict(
        type='RefinementPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='RefinementResNet',
        depth=18,
        stem_channels=4,
        stage_channels=(4, 4, 8, 8),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='RefinementHead',
        in_channels=(4, 4, 8),
        pool_channels=8,
        up_channels=(8, 4, 4),
        out_channels=4,
        norm_cfg=norm_cfg,
    ),
)
