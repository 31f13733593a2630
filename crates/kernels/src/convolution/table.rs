//! Where a convolution reads: pixels, runs of inputs, and the copy with a zero border.

use super::winograd::{Patches, Tile};

/// Working memory of one thread; grows at first use and is then kept.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) bordered: Vec<f32>,
    pub(super) pixels: Vec<Pixel>,
    pub(super) runs: Vec<Run>,
    pub(super) bias: Vec<f32>,
    pub(super) patches: Patches,
    pub(super) tiles: Vec<Tile>,
}

impl Scratch {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
}

/// One result pixel: where its first tap reads and where it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pixel {
    /// Offset of the first tap in the source, in values.
    pub input: usize,
    /// Index of the pixel in the output.
    pub output: usize,
}

/// Inputs that lie side by side: one tap, or a whole kernel row where channels have no padding between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    /// Distance from the pixel's offset, in values.
    pub offset: usize,
    /// Number of values.
    pub length: usize,
}

/// A stack of maps with zero rows and columns around each. The copy leaves padded channels out: then a kernel row is
/// one run, which matters to layers of few channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bordered {
    pub height: usize,
    pub width: usize,
    /// Channels of the maps in memory.
    pub map_stride: usize,
    /// The first of them, which are read.
    pub channels: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

/// Values of the bordered copy that are worked on at once: 1 MiB, half of a usual L2, beside the weights.
const TILE_VALUES: usize = 1 << 18;

impl Bordered {
    /// Distance between two pixels.
    pub fn stride(&self) -> usize {
        if self.has_border() { self.channels } else { self.map_stride }
    }

    pub fn row(&self) -> usize {
        (self.left + self.width + self.right) * self.stride()
    }

    pub fn image(&self) -> usize {
        (self.top + self.height + self.bottom) * self.row()
    }

    /// How many images are copied and worked on at once. The bits do not depend on it.
    pub fn tile(&self, images: usize) -> usize {
        (TILE_VALUES / self.image()).clamp(1, images.max(1))
    }

    fn has_border(&self) -> bool {
        self.top + self.bottom + self.left + self.right > 0
    }

    /// The maps with their border: a copy in `storage`, or the maps themselves where there is none.
    pub fn lay_out<'a>(&self, maps: &'a [f32], storage: &'a mut Vec<f32>) -> &'a [f32] {
        if !self.has_border() {
            return maps;
        }
        let map_row = self.width * self.map_stride;
        let images = maps.len() / (self.height * map_row);
        let size = images * self.image();
        if storage.len() < size {
            storage.resize(size, 0.0);
        }
        let (left, width) = (self.left * self.channels, self.width * self.channels);
        let copies = storage[..size].chunks_exact_mut(self.image());
        for (map, copy) in maps.chunks_exact(self.height * map_row).zip(copies) {
            let (above, rest) = copy.split_at_mut(self.top * self.row());
            let (inside, below) = rest.split_at_mut(self.height * self.row());
            above.fill(0.0);
            below.fill(0.0);
            for (from, to) in map.chunks_exact(map_row).zip(inside.chunks_exact_mut(self.row())) {
                to[..left].fill(0.0);
                to[left + width..].fill(0.0);
                let to = &mut to[left..left + width];
                match self.channels {
                    all if all == self.map_stride => to.copy_from_slice(from),
                    1 => copy_pixels::<1>(from, self.map_stride, to),
                    3 => copy_pixels::<3>(from, self.map_stride, to),
                    channels => {
                        let pixels = from.chunks_exact(self.map_stride);
                        for (from, to) in pixels.zip(to.chunks_exact_mut(channels)) {
                            to.copy_from_slice(&from[..channels]);
                        }
                    }
                }
            }
        }
        &storage[..size]
    }

    /// Lists the runs of a window of `rows` x `columns` taps.
    pub fn runs(&self, rows: usize, columns: usize, runs: &mut Vec<Run>) {
        runs.clear();
        for row in (0..rows).map(|row| row * self.row()) {
            if self.channels == self.stride() {
                runs.push(Run { offset: row, length: columns * self.channels });
            } else {
                runs.extend((0..columns).map(|column| Run {
                    offset: row + column * self.stride(),
                    length: self.channels,
                }));
            }
        }
    }
}

/// The first `C` of every `stride` values: without a call for each pixel, as images have few channels.
fn copy_pixels<const C: usize>(from: &[f32], stride: usize, to: &mut [f32]) {
    for (from, to) in from.chunks_exact(stride).zip(to.as_chunks_mut::<C>().0) {
        to.copy_from_slice(&from[..C]);
    }
}
