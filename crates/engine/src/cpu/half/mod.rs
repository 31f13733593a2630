//! The frozen engine in half precision: bf16 values with f32 sums, in tiles of images that stay in one core's cache.
//!
//! `plan` decides from the shapes alone where every value lies and what each step does; it is made once for a network and
//! a number of images and kept from freeze to freeze. `weights` packs a network's parameters. `forward` and `backward`
//! run the plan. Group norms and smooth activations go image by image (`norm`,
//! `activation`). Steps that have no kernel over
//! cells run in f32 by the chunks of the f32 engine (`wide`).

mod activation;
mod ahead;
mod backward;
mod forward;
mod frozen;
mod gradients;
mod norm;
mod plan;
mod plans;
mod stages;
mod values;
mod weights;
mod wide;
mod workplace;

pub(crate) use frozen::{HalfFrozen, HalfSession};
pub(crate) use plans::Plans;
