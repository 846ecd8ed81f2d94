# CascadePSP as in the paper: ResNet-50 with ImageNet weights, the paper's five sets, 60,000
# iterations of batch 9.
_base_ = [
    './_base_/models/cascadepsp_r50.py',
    './_base_/datasets/paper.py',
    './_base_/schedules/schedule_60k.py',
    './_base_/refiner_runtime.py',
]
