# The same cascade, losses and head, narrow, on EfficientNet-Lite0: 3.4 M parameters.
_base_ = './cascadepsp_r50.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='RefinementEfficientNetLite',
        in_channels=6,
        out_channels=128,
    ),
    decode_head=dict(
        in_channels=(32, 24, 128), pool_channels=128, up_channels=(64, 32, 16), out_channels=16
    ),
    # The model card has its scores with and without.
    guided_filter=dict(),
    overview=0.5,
    tidy=True,
    test_cfg=dict(enlarge=True, crop_filter='boundary'),
)
