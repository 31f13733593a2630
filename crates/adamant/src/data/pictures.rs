//! The border between where pictures lie (class folders, shards, tables, caches) and what is done with them.

use std::fmt;
use std::path::PathBuf;

use network::Shape;

use super::error::DataError;

/// What [`Pictures::read`] has left in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A whole PNG or JPEG file; its first bytes say which.
    File,
    /// Decoded bytes `[C, H, W]`, 0 to 255, of one or three channels.
    Planes(Shape),
}

/// Pictures by position, wherever they lie; labels and class names are the [`Dataset`](super::Dataset)'s.
///
/// Any thread may read any position at any time, so reading takes no cursor: a file is opened for each read or read at
/// an offset. What is kept per picture is kept for 1.28 million of them; tens of bytes, not hundreds.
pub trait Pictures: fmt::Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none; a data set of no pictures is refused.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces what is in `into` by the picture at `index`, which is below [`Pictures::len`].
    ///
    /// Errors: what the system or the container says, naming the file; the same ones each time, for data that stays.
    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError>;

    /// What the picture is called in messages: its path, or the container's path and its name within.
    fn name(&self, index: usize) -> PathBuf;

    /// Which stretch of storage it lies in; pictures of one block have successive positions, blocks count from 0.
    ///
    /// Shards say their number, so that an order may go shard by shard. Where each picture is a file, all are one block.
    fn block(&self, index: usize) -> u32 {
        let _ = index;
        0
    }
}
