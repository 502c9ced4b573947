"""Which of torch's kernels work on elements; others that are no products are unknown."""

from __future__ import annotations

from typing import Any

MOVES = frozenset((
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_assert_async", "_assert_scalar",
    "_assert_tensor_metadata", "_batch_norm_no_update", "_batch_norm_with_update",
    "_choose_qparams_per_tensor", "_cummax_helper", "_cummin_helper", "_embedding_bag",
    "_embedding_bag_forward_only", "_functional_assert_async", "_fused_rms_norm",
    "_index_put_impl", "_local_scalar_dense", "_log_softmax", "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training",
    "_safe_softmax", "_softmax", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "_to_copy",
    "_unique2", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
    "_weight_norm_interface", "adaptive_avg_pool1d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "affine_grid_generator", "all", "amax",
    "amin", "aminmax", "any", "arange", "argmax", "argmin", "argsort", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "bernoulli", "bincount", "bucketize", "cat", "channel_shuffle",
    "choose_qparams", "clone", "col2im", "constant_pad_nd", "contiguous", "copy",
    "count_nonzero", "cummax", "cummin", "cumprod", "cumsum", "dequantize", "diag",
    "diag_embed", "diff", "dropout", "embedding_bag", "equal", "exponential", "eye",
    "fake_quantize_per_channel_affine_cachemask", "fake_quantize_per_tensor_affine_cachemask",
    "fill", "flip", "floor_divide", "fractional_max_pool2d", "full", "full_like", "gather",
    "glu", "grid_sampler_2d", "grid_sampler_3d", "histc", "im2col", "index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "is_nonzero", "isin", "item",
    "kthvalue", "lift_fresh", "linalg_cross", "linalg_vector_norm", "linspace", "log_softmax",
    "logcumsumexp", "logsumexp", "masked_fill", "masked_scatter", "masked_select", "max",
    "max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "max_unpool2d", "max_unpool3d", "mean", "median", "min", "mode", "msort", "multinomial",
    "nanmean", "nanmedian", "nansum", "native_batch_norm", "native_dropout",
    "native_group_norm", "native_layer_norm", "new_full", "new_ones", "new_zeros", "nonzero",
    "nonzero_static", "norm", "normal", "one_hot", "ones", "ones_like", "pad", "pixel_shuffle",
    "pixel_unshuffle", "prod", "put", "quantize_per_tensor", "rand", "rand_like", "randint",
    "randn", "randn_like", "randperm", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "renorm", "repeat", "repeat_interleave", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "rms_norm", "roll", "rot90", "scalar_tensor",
    "scatter", "scatter_add", "scatter_reduce", "searchsorted", "softmax", "sort", "stack",
    "std", "std_mean", "sum", "take", "tile", "topk", "trace", "tril", "tril_indices", "triu",
    "triu_indices", "unfold", "uniform", "unique", "unique2", "unique_consecutive",
    "unique_dim", "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_trilinear3d",
    "var", "var_mean", "where", "zero", "zeros", "zeros_like",
))  # fmt: skip
"""Kernels of elements that torch does not tag: made, moved, chosen, summed, normalised, pooled."""
TAGS = ("pointwise", "reduction")


def is_elementwise(function: Any) -> bool:  # noqa: ANN401  torch's OpOverload
    """Return whether a kernel does a number of operations for each element that it reads or writes.

    By torch's own tags, or by its name in ``MOVES``; in-place variants as the plain ones.
    """
    names = {tag.name for tag in function.tags}
    space, _, name = function._schema.name.partition("::")
    return bool(names & {*TAGS}) or (space in ("aten", "prims") and name.rstrip("_") in MOVES)
