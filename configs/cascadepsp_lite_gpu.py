# The small refiner on one GPU, in one training in place of the six that the shipped weights come
# from: 512,000 crops in bfloat16, from ImageNet weights. docs/training.md has the command.
_base_ = './cascadepsp_lite.py'  # before the import, by which MMEngine tells its newer configs
import os  # noqa: E402

data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
crop_size = 288
batch_size = 64
max_iters = 8000
# Batches are large enough for statistics of their own: the backbone's norms learn them, too.
model = _base_.model
model.backbone.norm_eval = False
model.decode_head.losses.s4[1].boundary_weight = 4.0
model.decode_head.losses.s1[0].boundary_weight = 4.0
crops = [
    dict(type='LoadPhoto'),
    dict(type='LoadMasks'),
    dict(type='RandomZoomCrop', size=crop_size, zoom=(0.5, 2.6), min_share=0.02),
    dict(type='FlipPair', prob=0.5),
]
blobs = dict(type='SimulateOutputStride', stride=(4, 56), displacement=0.9, noise=0.4)
closer = dict(type='SimulateOutputStride', stride=(3, 24), displacement=0.7, noise=0.35)
train_pipeline = [
    dict(type='PasteObject', prob=0.35, behind=0.4),
    dict(type='PasteOccluder', prob=0.1),
    dict(type='ClutterInterior', prob=0.25),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='PerturbMask', iou_target=(0.7, 1.0))],
            [blobs],
            # Open where two coarse masks disagree, as an overview leaves them.
            [dict(type='AverageCoarseMasks', masks=[[blobs], [closer]])],
            [dict(type='SimulatePromptable', cell=(1.0, 12.0))],
            [dict(type='CopyTrueMask')],
        ],
        prob=[0.15, 0.4, 0.2, 0.15, 0.1],
    ),
    dict(type='LoseParts', prob=0.15),
    dict(type='PackRefinementInputs'),
]
sources = [
    dict(
        type='ClassAgnosticDataset',
        data_root=data_root + '/train',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        repeat=dict(bsds500_consensus=4, davis2016_val=3),
        pipeline=crops,
    )
]
if os.path.isdir(data_root + '/camvid/images/train'):  # street frames, where they are
    sources.append(
        dict(
            type='LabelMapObjectsDataset',
            dataset=dict(
                type='CamVidDataset',
                data_root=data_root + '/camvid',
                data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
            ),
            pick=dict(labels=[1, 6, 8, 9, 10], one='component', min_area=400),
            pipeline=crops,
        )
    )
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=16,
    prefetch_factor=4,
    pin_memory=True,
    dataset=dict(
        _delete_=True,
        type='SameSetMixDataset',
        same_set=0.5,
        dataset=dict(type='ConcatDataset', datasets=sources),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=2.0))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.02, end=400),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=400,
        end=max_iters,
        T_max=max_iters - 400,
        eta_min_ratio=0.01,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=4000)
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='MomentumAnnealingEMA',
        momentum=1e-3,
        gamma=200,
        update_buffers=True,
    )
]
default_hooks = dict(checkpoint=dict(interval=500), logger=dict(interval=20))
# Channels-last is the network's own. Compiling (compile=True) is left out: the loss reads data
# samples, which break the graph, and its first iterations take minutes.
