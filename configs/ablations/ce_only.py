# Table 1, "CE loss only": at every stride, with weight 1.
_base_ = './final.py'
model = dict(
    decode_head=dict(
        losses=dict(
            s8=[{{_base_.cross_entropy}}],
            s4=[{{_base_.cross_entropy}}],
            s1=[{{_base_.cross_entropy}}],
        )
    )
)
