"""What the recorder knows of ATen's operations, by name."""

from __future__ import annotations

from gradconform.adapters.recording.torch_algebra import ALGEBRA_RULES
from gradconform.adapters.recording.torch_call import Rules
from gradconform.adapters.recording.torch_complex import COMPLEX_RULES, TO_COMPLEX
from gradconform.adapters.recording.torch_definitions import APPROXIMATED, DEFINITIONS, FORMS, WRITTEN
from gradconform.adapters.recording.torch_pooling import POOLING_RULES
from gradconform.adapters.recording.torch_reductions import REDUCTION_RULES
from gradconform.adapters.recording.torch_sampling import SAMPLING_RULES
from gradconform.adapters.recording.torch_scalars import SCALAR_RULES
from gradconform.adapters.recording.torch_sums import SUM_RULES

#: Operations that move numbers and compute none.
MOVES = frozenset(
    """
    clone cat index gather index_select flip roll repeat stack hstack vstack select_scatter slice_scatter
    diagonal_scatter as_strided_scatter masked_select scatter masked_scatter constant_pad_nd tril triu im2col diag_embed
    unfold repeat_interleave take rot90 trace_copy _unsafe_view _reshape_copy view_copy expand_copy
    permute_copy slice_copy select_copy squeeze_copy unsqueeze_copy t_copy transpose_copy alias_copy unbind_copy
    split_copy split_with_sizes_copy diagonal_copy _unsafe_index select_backward slice_backward diagonal_backward
    unsafe_split unsafe_chunk unsafe_split_with_sizes lift_fresh_copy pixel_shuffle pixel_unshuffle channel_shuffle
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d index_copy trace_copy swapaxes
    _chunk_cat block_diag _pack_padded_sequence
""".split()
)
#: Operations that make a tensor filled with one number, or leave it to be filled.
CREATIONS = frozenset(
    """
    new_zeros zeros_like zeros zero new_ones ones_like ones full full_like new_full fill scalar_tensor empty empty_like
    empty_strided new_empty new_empty_strided empty_permuted resize _efficientzerotensor
    _new_zeros_with_same_feature_meta
""".split()
)
#: Operations whose results are numbers of this run that do not move with their operands.
DATA = frozenset(
    """
    arange linspace logspace eye isnan isinf isfinite isposinf isneginf signbit nonzero
    argmax argmin argsort any all bernoulli bernoulli_ normal_ uniform_ random_ exponential_ cauchy_ log_normal_
    geometric_ randn rand randint randperm randn_like rand_like randint_like multinomial normal poisson bincount
    searchsorted bucketize count_nonzero unique _unique2 isin tril_indices triu_indices numel
    isclose allclose nonzero_static is_same_size histc histogram
""".split()
)

#: Of them those that give the places of numbers by their order.
PLACES = frozenset({"argmax", "argmin", "argsort"})
#: Operations that write numbers where a condition says.
MASKED = frozenset({"index_put", "_index_put_impl", "_unsafe_index_put"})

RULES = Rules(
    {
        **SCALAR_RULES,
        **SUM_RULES,
        **POOLING_RULES,
        **ALGEBRA_RULES,
        **REDUCTION_RULES,
        **SAMPLING_RULES,
        **{n: COMPLEX_RULES[n] for n in TO_COMPLEX},
    },
    MOVES,
    CREATIONS,
    DATA,
    DEFINITIONS,
    FORMS,
    APPROXIMATED,
    COMPLEX_RULES,
    PLACES,
    MASKED,
    WRITTEN,
)
