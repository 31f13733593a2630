//! Slices in, slices out: the inner loops of the CPU engine. All `unsafe` of the project is here.
//!
//! Activations are f32, channels last: `[images][rows][columns][stride]` with the channel count padded up to a
//! multiple of 16 ([`padded`]); padded channels hold zeros. Every function is single-threaded and takes an [`Isa`].
//! Begin with [`convolution`]: it is where the time goes.

#[macro_use]
mod dispatch;

pub mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
pub mod bf16;
pub mod convolution;
mod exponential;
mod filtering;
pub mod half;
mod isa;
pub mod layout;
pub mod linear;
mod lines;
pub mod mapping;
pub mod memory;
pub mod norm;
pub mod peak;
pub mod pixels;
pub mod pooling;
pub mod priority;
mod vector;

pub use convolution::{ConvolutionShape, Relu};
pub use isa::{Isa, IsaError};
pub use layout::padded;

/// Channels in one vector, one weight panel and one mask word.
pub const LANES: usize = 16;
