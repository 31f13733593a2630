//! The training pass in half precision, beside the convolutions of [`crate::half`]: the gradient by the weights,
//! normalisation and what else reads and writes cells.
//!
//! Values and their gradients are bf16 in [`crate::half::CellLayout`]s; every sum is f32 or f64. Begin with
//! [`weight_gradient`]: it takes a third of a training pass.

pub mod activation;
mod cells;
pub mod image_norm;
pub(crate) mod line;
pub mod norm;
mod plane;
mod subsample;
pub(crate) mod transpose;
mod weight_block;
mod weight_gradient;
mod weight_operands;

pub use cells::{add, average, copy_cells, keep, spread_average};
pub use plane::{ImageCells, clear_borders};
pub use subsample::{add_spread, subsample};
pub use weight_gradient::{
    WeightGradient, WeightScratch, unpack_weight_sums, weight_gradient, weight_sums_len,
};
pub use weight_operands::Inputs;
