# A further training of the small refiner, from the mean of the first three: photos enlarged up to
# 2.6 times, compositions, and pixels at the boundary that weigh four times. The mean
# of this one's weights and of `cascadepsp_lite_half_open.py`'s is what the last one starts from.
_base_ = './cascadepsp_lite_compositions.py'
model = _base_.model
model.decode_head.losses.s4[1].boundary_weight = 4.0
model.decode_head.losses.s1[0].boundary_weight = 4.0
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.pipeline[0].prob = 0.25  # PasteObject
train_dataloader.dataset.dataset.datasets[0].pipeline[2].zoom = (0.5, 2.6)  # the photos' crops
train_dataloader.dataset.dataset.datasets[1].pipeline[2].zoom = (0.5, 2.6)  # the streets'
optim_wrapper = dict(optimizer=dict(lr=8e-4))
max_iters = 1600  # the cosine's last ninth is left out
train_cfg = dict(max_iters=max_iters)
load_from = 'work_dirs/first_three.pth'
