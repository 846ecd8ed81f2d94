# The paper's network, losses and schedule, on own photos and masks.
_base_ = [
    './_base_/models/cascadepsp_r50.py',
    './_base_/datasets/class_agnostic.py',
    './_base_/schedules/schedule_60k.py',
    './_base_/refiner_runtime.py',
]
