# The runtime of a refiner's training: pictures of all outputs in TensorBoard, and a guard that
# stops it, with a reason, when its loss is not finite.
_base_ = './default_runtime.py'
default_hooks = dict(
    pictures=dict(type='CascadePicturesHook', interval=800),
    guard=dict(type='CollapseGuardHook'),
)
