# A second training of the small refiner: objects put together of two photos, and those of CamVid's
# street frames (<data_root>/camvid, see docs/chaining.md). Goes on from the first, and the
# next ones go on from the mean of the three; docs/training.md has the order. (The shipped weights
# were trained with CamVid's void counted as background.)
_base_ = './cascadepsp_lite.py'
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
crops = _base_.train_pipeline[:4]
crops[2].zoom = (0.6, 2.2)
train_pipeline = [dict(type='PasteObject', prob=0.35), *_base_.train_pipeline[4:]]
train_pipeline[2].transforms[1][0].stride = (4, 56)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='ConcatDataset',
            datasets=[
                dict(
                    type='ClassAgnosticDataset',
                    data_root=data_root + '/train',
                    data_prefix=dict(img_path='images', seg_map_path='masks'),
                    repeat=dict(bsds500_consensus=4, davis2016_val=3),
                    pipeline=crops,
                ),
                dict(
                    type='LabelMapObjectsDataset',
                    dataset=dict(
                        type='CamVidDataset',
                        data_root=data_root + '/camvid',
                        data_prefix=dict(
                            img_path='images/train', seg_map_path='annotations/train'
                        ),
                    ),
                    pick=dict(labels=[1, 6, 8, 9, 10], one='component', min_area=400),
                    pipeline=crops,
                ),
            ],
        ),
        pipeline=train_pipeline,
    )
)
optim_wrapper = dict(optimizer=dict(lr=7e-4))
max_iters = 1800
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - 100)
train_cfg = dict(max_iters=max_iters)
load_from = 'work_dirs/cascadepsp_lite/iter_2200.pth'
