# A training of the small refiner beside `cascadepsp_lite_detail.py`: two of five coarse
# masks are the mean of two, as the overview leaves them, open where the two disagree.
_base_ = './cascadepsp_lite_detail.py'
model = _base_.model
model.decode_head.losses.s4[1].boundary_weight = 3.0
model.decode_head.losses.s1[0].boundary_weight = 3.0
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.dataset.datasets[0].pipeline[2].zoom = (0.5, 2.2)
train_dataloader.dataset.dataset.datasets[1].pipeline[2].zoom = (0.5, 2.2)
blobs = dict(type='SimulateOutputStride', stride=(8, 64), displacement=0.9, noise=0.4)
closer = dict(type='SimulateOutputStride', stride=(3, 24), displacement=0.7, noise=0.35)
train_dataloader.dataset.pipeline[2].prob = [0.2, 0.4, 0.4]
train_dataloader.dataset.pipeline[2].transforms.append(
    [dict(type='AverageCoarseMasks', masks=[[blobs], [closer]])]
)
