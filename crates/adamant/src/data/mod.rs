//! Images from files: data sets, the order they are read in, and what is done to them on the way.
//!
//! Begin with [`Source`] (what a user names), then [`Dataset`] (what it loads) and [`Loader`] (batches by epoch and step).
//! Pixels are stored as bytes and become `[0, 1]` in a [`Batch`](crate::image::Batch); scaling is inside the network (T18).

mod archive;
pub mod augment;
pub mod cifar;
pub mod cifar_pickle;
mod dataset;
mod error;
pub mod fetch;
pub mod folder;
mod hold_out;
pub mod idx;
mod loader;
pub mod pickle;
pub mod picture;
mod prefetch;
pub mod published;
mod sample;
mod source;
pub mod tar;

pub use augment::{Augment, Flip};
pub use dataset::{Dataset, Part, Pixels};
pub use error::DataError;
pub use hold_out::{HeldOut, default_held_out_count, hold_out};
pub use loader::{LastBatch, Loader, LoaderSettings, Order, Position};
pub use prefetch::{Prefetch, Prefetched};
pub use source::{SearchPath, Source};
