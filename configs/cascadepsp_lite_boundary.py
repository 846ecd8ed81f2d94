# Another second training of the small refiner: pixels at the boundary weigh four times. Goes on
# from the first, and the next ones go on from the mean of the three; docs/training.md has the
# order. Run with this schedule to the letter: the cosine begins before the warm-up ends.
_base_ = './cascadepsp_lite_compositions.py'
model = _base_.model
model.decode_head.losses.s4[1].boundary_weight = 4.0
model.decode_head.losses.s1[0].boundary_weight = 4.0
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.pipeline[0].prob = 0.15  # PasteObject
photos = train_dataloader.dataset.dataset.datasets[0]  # without the streets
photos.pipeline[2].zoom = (0.5, 2.2)
train_dataloader.dataset.dataset = dict(_delete_=True, **photos)
max_iters = 1000
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(begin=60, end=max_iters, T_max=max_iters - 60)
train_cfg = dict(max_iters=max_iters)
