# What the paper trains on (section 4.2): five sets, 36,572 pairs. Below the data root they lie as
# tools/dataset_converters/prepare_training_data.py lays them out, and the authors' script too.
# Validation: 500 objects of PASCAL VOC 2012 val with accurate outlines, perturbed, always alike.
# The root comes from --data-root or the environment variable MMSEG_CASCADEPSP_DATA.
_base_ = './class_agnostic.py'
data_root = '{{$MMSEG_CASCADEPSP_DATA:data}}'
data_help = (
    'for validation, 500 pairs of the relabelled PASCAL VOC 2012 that docs/dataset.md of '
    'github.com/hkchengrex/CascadePSP links; unpack it there, or leave validation out with '
    '--cfg-options val_dataloader=None val_cfg=None val_evaluator=None'
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='PaperTrainingSet',
                data_root=data_root,
                folder=folder,
                pipeline={{_base_.train_pipeline}},
            )
            for folder in ('MSRA_10K', 'ecssd', 'fss', 'DUTS-TR', 'DUTS-TE')
        ],
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RelabelledVOCDataset',
        data_root=data_root + '/voc_relabelled',
        pipeline={{_base_.val_pipeline}},
    )
)
test_dataloader = val_dataloader
