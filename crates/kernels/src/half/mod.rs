//! Convolutions in half precision (bf16 with f32 sums) for the frozen attack pass: forward, and backward by data.
//!
//! Values lie in [`CellLayout`]s: 32 channels of a pixel are one cell of 64 bytes, and pixels of several images are
//! interleaved, so that sixteen consecutive cells, a *tile*, are sixteen pixels of work at every map size, down to 4x4 and
//! 7x7. A convolution is a [`Table`]: for each tile the place of its first cell, and for each *class* of tiles the list of
//! steps (shift of the input, place of the weights) that are inside the image; taps that fall outside are left out.
//! One loop runs that table two tiles by two panels of 16 output channels at a time: with AMX one multiply instruction
//! is a tile by a panel over 32 inputs; AVX-512 with bf16 and the portable body do the same sums.
//!
//! Each output value is a sum from the bias on in a fixed order (channel block, then tap), whatever the tile, the images
//! beside it or the batch: an image's result has the same bits alone and in any batch (G7). A step left out would have
//! added zero, and a sum from `+0` on is never `-0`, so leaving it out changes no bit.
//!
//! **What limits it** (two cores of a virtual Xeon with AMX; its speed has two states a third apart, seconds each, so all of one
//! window; raw in `benches/results/layers`). The multiplications alone, fed from the first-level cache: 2.9 TFLOP/s a core. 3x3
//! layers of stride 1 in the attack pass of ResNet-18 (CIFAR): up to 1.6 at 64 channels and 32x32, 1.1 to 1.7 at 128, 1.7 to
//! 1.9 at 256, 1.8 to 2.1 at 512; of WRN-28-10 1.4 to 2.0; 1x1 layers of ResNet-50 at 224 pixels 0.35 to 0.95. In order:
//! - *Results.* A block of 64 channels has 18 steps, and writing its results took a quarter more. Between the steps of the
//!   next block they are hidden, except where steps are few: 1x1 convolutions.
//! - *The second-level cache.* A step reads two tiles of pixels and two panels of weights, 4 KiB for 64 cycles; only a tile's
//!   nine taps meet it in the first level. Blocks of 6 tiles by 1 panel or 3 by 2 read less: single convolutions of 16x16 and
//!   below gained 4 to 16 %, whole attack passes of ResNet-18 and WRN-28-10 nothing that a loaded machine could show; not built.
//! - *A store of a tile after many steps without one* waits some 860 cycles, at 36 steps and more, not at 18.
//! - *The third level*, 25 GB/s a core: weights of late layers and what passes from stage to stage. Both are fetched ahead.
//!   ResNet-50 at 224 pixels stays bound by it: a block's values (1.6 MB an image at 56x56) exceed the second level.
//!   Bands of rows instead of whole images would help; not built.
//! - *Few tiles*: 2x2 and 7x7 maps of few images, where a tile has empty rows.
//!
//! **Without AMX** (two cores of a virtual Zen 4, 117 GFLOP/s of f32 and 234 of bf16 a core) products are the limit, so 3x3
//! convolutions of stride 1 of frozen passes take a third of them (`filter`; [`HalfPass::on`] chooses). In multiply-adds of the
//! plain sum, as shares of the bf16 peak, border taps counted (raw in `benches/results/layers/*8b4cc53-zen4*`, ResNet-20's of
//! f609835):
//! - ResNet-18 (CIFAR) 201 to 245 % in those layers, 87 to 109 % in 3x3 layers of stride 2, 64 to 84 % in 1x1 layers, 27 to 61 % in the
//!   first, 192 all together; WRN-28-10 127 to 250 % in those layers, 197 all together.
//! - ResNet-20 66 to 91 % at 16 channels, where transforming inputs takes some 30 % of a profile, 122 to 150 at 32, 166 to 185 at 64.
//! - ResNet-50 at 224 pixels 162 to 212 % in those layers, 64 to 94 in 1x1 layers, 80 to 87 in 3x3 layers of stride 2, 93 all together.
//!
//! Passes take 1.30 (ResNet-18), 1.34 (ResNet-50, 16 x 64), 1.40 (8 x 224) and 1.39 times (WRN-28-10) what these products alone would at
//! the peak (`benches/products.py`): transforms, results, and weights of late layers that meet few pixels. Eight blocks that share the weights of one row of
//! the patches gained up to 18 % at 640 channels in some hours and nothing in others, and lost 5 to 15 % from 128 down; not kept.
//! Multiplied plainly (`*a44a473-zen4*`), 3x3 layers of stride 1 reach 95 to 98 %, at smaller maps with more taps left out up to 130: inputs that
//! a step does not have are not multiplied there. Training passes multiply plainly: their gradients are what is learned. `auto` is bf16.
//!
//! With AMX, filtering in both directions, F(2x2, 3x3), won nothing: with 2.25 times fewer multiplications single layers took as long as
//! now from 128 channels on (0.99 to 1.15 times) and nearly twice as long at 64, since everything transformed passes the second
//! level as stores (18 bytes a cycle, where reads have 49). Filtering along rows with sums that stay in tiles was not tried.
//! Streaming hints and other loop orders won nothing.

mod arrange;
mod block;
mod convert;
mod convolve;
mod depth;
mod epilogue;
mod filter;
mod job;
mod layout;
mod pack;
mod pass;
mod pool;
mod source;
mod table;
mod turn;

pub use crate::lines::{Lines, Number};
pub use arrange::{
    Adds, each_pixel, from_cells, gradient_to_cells, keep, mask_of_cells, to_cells, to_strip,
};
pub use convert::{from_f32, narrow, to_f32, widen};
pub use convolve::{Workspace, convolve};
pub use depth::SpaceToDepth;
pub use epilogue::Epilogue;
pub use job::{Addend, Ahead, Convolve, Destination, Weights};
pub use layout::{CellLayout, Columns, StripLayout};
pub use pack::{Direction, PackedHalf, pack, pack_into};
pub use pass::{Algorithm, HalfPass, Tap, backward_passes, forward_pass, pointwise_pass};
pub use pool::{Firsts, Pool};
pub use source::Source;
pub use table::Table;

/// Channels of a cell.
pub const CELL: usize = 32;
/// Pixels of a tile.
pub const TILE: usize = 16;
/// Numbers that a buffer needs beyond its groups: the last tile may read past the last pixel.
pub const SLACK: usize = 4 * TILE * CELL;
