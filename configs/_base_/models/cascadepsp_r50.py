# The paper's refinement module: PSPNet on a six-channel ResNet-50 of output stride 8 (section
# 3.1).
norm_cfg = dict(type='BN', requires_grad=True)
cross_entropy = dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
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
        depth=50,
        in_channels=6,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        multi_grid=(1, 4, 4),
        contract_dilation=True,
        norm_cfg=norm_cfg,
        # Fetched when a training starts, not for inference.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-19c8e357.pth',
        ),
    ),
    decode_head=dict(
        type='RefinementHead',
        in_channels=(64, 256, 2048),
        pool_channels=1024,
        up_channels=(512, 256, 32),
        out_channels=32,
        pool_sizes=(1, 2, 3, 6),
        strides=(8, 4, 1),
        norm_cfg=norm_cfg,
        losses=dict(
            s8=[cross_entropy],
            s4=[
                dict(**cross_entropy, loss_weight=0.5),
                dict(type='L1L2Loss', l1_weight=0.25, l2_weight=0.25),
            ],
            s1=[
                dict(type='L1L2Loss', l1_weight=1.0, l2_weight=1.0),
                dict(type='GradientLoss', loss_weight=5.0),
            ],
        ),
    ),
    # The paper: Local step where the longer side is 900 or more, smaller images as they are.
    test_cfg=dict(L=900, enlarge=False, crop_filter='release'),
)
