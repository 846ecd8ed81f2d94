# The small refiner on own photos and, as an additional source, PASCAL VOC 2012: one object of each
# of its 1,464 photos, drawn anew each time. Its outlines are rougher than those of own masks
# should be; validation stays with those.
# VOC lies where MMSegmentation has it, below the data root: VOCdevkit/VOC2012.
_base_ = './cascadepsp_lite.py'
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
data_help = (
    'unpack VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ in the '
    'data root'
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type='LabelMapObjectsDataset',
                dataset=dict(
                    type='PascalVOCDataset',
                    data_root=data_root + '/VOCdevkit/VOC2012',
                    ann_file='ImageSets/Segmentation/train.txt',
                    # Label maps of instances: each label is one object.
                    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationObject'),
                ),
                pick=dict(exclude=(0,)),
                pipeline={{_base_.train_pipeline}},
            ),
        ],
    )
)
