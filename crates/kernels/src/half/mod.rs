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
//! **What limits it** (one core of a virtual Xeon with AMX whose clock drifts by a quarter within minutes, so all of one
//! window): the multiplications alone, fed from the first-level cache, 2.75 TFLOP/s; the same loop over pixels and weights
//! as a network has them, without any epilogue, 1.5 (512 channels at 4x4) to 1.8 (64 at 32x32): a step loads two tiles of
//! pixels and two panels of weights, 4 KiB for 64 cycles of multiplication, and a panel of 9 x 64 inputs already fills
//! three quarters of that cache, so weights come from the second level. Blocks of three tiles by two panels did 5 to 8 %
//! more at 16x16 and below and less at 32x32; streaming hints, other loop orders and an epilogue among the next
//! block's multiplications won nothing. The epilogue takes a fifth at 64 channels and 32x32, little from 8x8 on.

mod arrange;
mod block;
mod buffer;
mod convert;
mod convolve;
mod depth;
mod epilogue;
mod layout;
mod pack;
mod pass;
mod pool;
mod table;

pub use arrange::{
    Adds, each_pixel, from_cells, gradient_to_cells, keep, mask_of_cells, to_cells, to_strip,
};
pub use buffer::{Lines, Number};
pub use convert::{from_f32, narrow, to_f32, widen};
pub use convolve::{Addend, Ahead, Convolve, Destination, Weights, Workspace, convolve};
pub use depth::SpaceToDepth;
pub use epilogue::Epilogue;
pub use layout::{CellLayout, Columns, StripLayout};
pub use pack::{Direction, PackedHalf, pack, pack_into};
pub use pass::{HalfPass, Tap, backward_passes, forward_pass, pointwise_pass};
pub use pool::{Firsts, Pool};
pub use table::{Source, Table};

/// Channels of a cell.
pub const CELL: usize = 32;
/// Pixels of a tile.
pub const TILE: usize = 16;
/// Numbers that a buffer needs beyond its groups: the last tile may read past the last pixel.
pub const SLACK: usize = 4 * TILE * CELL;
