//! Images from files: data sets, the order they are read in, and what is done to them on the way.
//!
//! Begin with [`Source`] (what a user names), then [`Dataset`] (what it loads) and [`Loader`] (batches by epoch and step).
//! [`Pictures`] is the border to whatever holds encoded pictures, [`Framing`] makes images of one shape of them.
//! Pixels are stored as bytes and become `[0, 1]` in a [`Batch`](crate::image::Batch); scaling is inside the network (T18).

mod archive;
pub mod augment;
pub mod cache;
pub mod cifar;
pub mod cifar_pickle;
mod colour;
mod crop;
mod dataset;
mod deal;
mod error;
pub mod fetch;
mod files;
pub mod folder;
mod framing;
mod hold_out;
pub mod idx;
pub mod inspect;
mod jpeg;
mod listing;
mod loader;
pub mod npz;
mod order;
pub mod parquet;
mod part_files;
pub mod pickle;
pub mod picture;
mod pictures;
mod png_file;
mod portable;
mod prefetch;
pub mod prepare;
pub mod published;
mod read;
mod resize;
mod sample;
pub mod shards;
mod source;
pub mod tar;
mod unlabelled;
mod walk;

pub use augment::{Augment, Flip};
pub use colour::Colour;
pub use crop::RandomCrop;
pub use dataset::{Dataset, Part, Pixels};
pub use deal::Deal;
pub use error::DataError;
pub use files::Files;
pub use framing::Framing;
pub use hold_out::{HeldOut, default_held_out_count, hold_out, hold_out_and_draw};
pub use loader::{LastBatch, Loaded, Loader, LoaderSettings, OnCorrupt, Position, Skipped};
pub use order::Order;
pub use pictures::{Pictures, Stored};
pub use prefetch::{Prefetch, PrefetchSettings, Prefetched};
pub use resize::{Filter, Region, Resampling};
pub use source::{SearchPath, Source};
