# The same cascade, losses and code on a small backbone and narrow upsampling blocks: 1.6 M
# parameters.
_base_ = './cascadepsp_r50.py'
model = dict(
    backbone=dict(depth=18, stem_channels=32, stage_channels=(32, 64, 128, 128), multi_grid=None),
    decode_head=dict(
        in_channels=(32, 32, 128), pool_channels=128, up_channels=(64, 32, 16), out_channels=16
    ),
    test_cfg=dict(enlarge=True, crop_filter='boundary'),
)
