# CascadePSP as in the paper: ResNet-50 with ImageNet weights, 60,000 iterations of batch 9.
_base_ = [
    './_base_/models/cascadepsp_r50.py',
    './_base_/datasets/class_agnostic.py',
    './_base_/schedules/schedule_60k.py',
    './_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-19c8e357.pth',
        )
    )
)
