//! Pillow's resampling, to the bit: antialiased triangle or cubic kernel, whole-number arithmetic, rows before columns.
//!
//! Source: Pillow's `Resample.c`; torchvision resizes pictures with it. Kept exact so that a figure measured on pictures
//! prepared elsewhere can be compared; rounding to bytes between the passes and 22 bits of weight are part of that.

use std::sync::OnceLock;

use kernels::Isa;
use kernels::pixels::resample::{self, PRECISION, ROWS};
use network::Shape;
use serde::{Deserialize, Serialize};

/// The instructions for the inner loops on pixels; the bytes are the same with all of them.
///
/// What `ADAMANT_ISA` names; the engine refuses a name that is none.
pub(super) fn fastest() -> Isa {
    static FASTEST: OnceLock<Isa> = OnceLock::new();
    *FASTEST.get_or_init(|| Isa::best().unwrap_or(Isa::Portable))
}

/// Which kernel weighs source pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// A triangle, as wide as an output pixel where that is larger than a source pixel.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, widened in the same way.
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
        }
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// Pixels left of it.
    pub left: usize,
    /// Pixels above it.
    pub top: usize,
    /// Its columns.
    pub width: usize,
    /// Its rows.
    pub height: usize,
}

impl Region {
    /// All of a picture.
    pub const fn whole(width: usize, height: usize) -> Self {
        Self { left: 0, top: 0, width, height }
    }
}

/// What is resampled into what: `region` of a picture becomes `width` x `height` pixels, of which `window` is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// The part of the source that is seen; pixels beyond it have no weight, as if it had been cut out before.
    pub region: Region,
    /// Columns that the region becomes.
    pub width: usize,
    /// Rows that the region becomes.
    pub height: usize,
    /// Which of those are wanted.
    pub window: Region,
    /// How source pixels are weighed.
    pub filter: Filter,
}

impl Resampling {
    /// The source pixels that the window needs.
    pub(super) fn needed(&self) -> Region {
        let Self { region, window, filter, .. } = *self;
        let axis = |input: usize, output: usize, from: usize, count: usize| {
            let (first, _) = span(input, output, from, filter);
            let (last, taps) = span(input, output, from + count - 1, filter);
            (first, last + taps - first)
        };
        let (left, width) = axis(region.width, self.width, window.left, window.width);
        let (top, height) = axis(region.height, self.height, window.top, window.height);
        Region { left: region.left + left, top: region.top + top, width, height }
    }
}

/// First source position and number of source positions that have a weight in output `at`.
fn span(input: usize, output: usize, at: usize, filter: Filter) -> (usize, usize) {
    let scale = input as f64 / output as f64;
    let support = filter.support() * scale.max(1.0);
    let center = (at as f64 + 0.5) * scale;
    // `as usize` makes what is below zero zero.
    let first = (center - support + 0.5) as usize;
    (first, ((center + support + 0.5) as usize).min(input) - first)
}

/// Weights of one axis.
#[derive(Debug, Default)]
struct Weights {
    /// First source position and number of weights, per output position.
    spans: Vec<(usize, usize)>,
    /// `stride` weights per output position.
    values: Vec<i32>,
    stride: usize,
}

impl Weights {
    /// Of outputs `from..from + count` when `input` source positions become `output`.
    fn fill(&mut self, input: usize, output: usize, from: usize, count: usize, filter: Filter) {
        let scale = input as f64 / output as f64;
        let widened = scale.max(1.0);
        let support = filter.support() * widened;
        self.stride = support.ceil() as usize * 2 + 1;
        self.spans.clear();
        self.values.clear();
        self.values.resize(count * self.stride, 0);
        let mut row = vec![0.0; self.stride];
        for (slot, values) in self.values.chunks_exact_mut(self.stride).enumerate() {
            let center = ((from + slot) as f64 + 0.5) * scale;
            let (first, count) = span(input, output, from + slot, filter);
            let row = &mut row[..count];
            let inverse = 1.0 / widened;
            let mut total = 0.0;
            for (offset, weight) in row.iter_mut().enumerate() {
                *weight = filter.weight(((offset + first) as f64 - center + 0.5) * inverse);
                total += *weight;
            }
            for (value, weight) in values.iter_mut().zip(row.iter()) {
                let share = if total == 0.0 { *weight } else { weight / total };
                let scaled = share * f64::from(1 << PRECISION);
                *value = (if share < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32;
            }
            self.spans.push((first, count));
        }
    }
}

/// Memory that resampling uses again for the next picture.
#[derive(Debug, Default)]
pub(super) struct Resizer {
    columns: Weights,
    rows: Weights,
    between: Vec<u8>,
    woven: Vec<u8>,
    /// The last rows, where fewer are left than go across together.
    last: Vec<u8>,
}

/// Pixels in memory, perhaps of a part of a picture only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels<'a> {
    /// Row by row.
    pub bytes: &'a [u8],
    /// Where they are in the picture.
    pub part: Region,
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

impl Resizer {
    /// Resamples one plane of a whole picture.
    ///
    /// Shapes: `plane` is `[shape.height, shape.width]`, `into` is `[window.height, window.width]`.
    pub(super) fn plane(&mut self, plane: &[u8], shape: Shape, task: &Resampling, into: &mut [u8]) {
        let part = Region::whole(shape.width, shape.height);
        self.run::<1>(Pixels { bytes: plane, part }, task, into);
    }

    /// Resamples pixels of `SPACING` bytes; the part that is there holds all that is needed.
    ///
    /// Shapes: `into` is `[window.height, window.width, SPACING]`.
    pub(super) fn run<const SPACING: usize>(
        &mut self,
        pixels: Pixels<'_>,
        task: &Resampling,
        into: &mut [u8],
    ) {
        let Resampling { region, window, filter, .. } = *task;
        let Pixels { bytes, part } = pixels;
        self.columns.fill(region.width, task.width, window.left, window.width, filter);
        self.rows.fill(region.height, task.height, window.top, window.height, filter);
        for (first, _) in &mut self.columns.spans {
            *first = *first + region.left - part.left;
        }
        let first = self.rows.spans[0].0;
        let last = self.rows.spans[window.height - 1];
        let needed = last.0 + last.1 - first;
        let (length, row) = (window.width * SPACING, part.width * SPACING);
        // As many rows as go across together; those too many are never read.
        self.between.resize(needed.next_multiple_of(ROWS) * length, 0);
        let isa = fastest();
        let Weights { spans, values, stride } = &self.columns;
        for (group, output) in self.between.chunks_exact_mut(ROWS * length).enumerate() {
            let top = region.top + first + group * ROWS - part.top;
            let left = ROWS.min(needed - group * ROWS);
            let rows = &bytes[top * row..(top + left) * row];
            if SPACING == 4 {
                self.woven.resize(ROWS * row, 0);
                let mut all = rows;
                if left < ROWS {
                    self.last.clear();
                    self.last.extend_from_slice(rows);
                    self.last.resize(ROWS * row, 0);
                    all = &self.last;
                }
                resample::across(isa, all, &mut self.woven, spans, values, *stride, output);
            } else {
                for (row, output) in rows.chunks_exact(row).zip(output.chunks_exact_mut(length)) {
                    across::<SPACING>(row, &self.columns, output);
                }
            }
        }
        for (position, output) in into.chunks_exact_mut(length).enumerate() {
            let (start, count) = self.rows.spans[position];
            let weights = &self.rows.values[position * self.rows.stride..][..count];
            resample::down(isa, &self.between[(start - first) * length..], weights, output);
        }
    }
}

/// One row of pixels that are not four bytes apart: pictures that are no ordinary photographs.
fn across<const CHANNELS: usize>(source: &[u8], weights: &Weights, output: &mut [u8]) {
    let rows = weights.values.chunks_exact(weights.stride);
    for ((pixel, &(first, count)), values) in
        output.chunks_exact_mut(CHANNELS).zip(&weights.spans).zip(rows)
    {
        let mut sums = [HALF; CHANNELS];
        let taken = source[first * CHANNELS..][..count * CHANNELS].chunks_exact(CHANNELS);
        for (from, &weight) in taken.zip(values) {
            for (sum, &byte) in sums.iter_mut().zip(from) {
                *sum += i32::from(byte) * weight;
            }
        }
        for (byte, &sum) in pixel.iter_mut().zip(&sums) {
            *byte = to_byte(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::framing::centre_crop;
    use super::super::picture::{Colours, Picture, decode};
    use super::*;

    fn fixture(name: &str) -> Picture {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
        let mut picture = Picture::default();
        let file = fs::read(folder.join(name)).unwrap();
        decode(&file, Path::new(name), Colours::Rgb, &mut picture).unwrap();
        picture
    }

    fn run(picture: &Picture, task: &Resampling) -> Vec<u8> {
        let mut into = vec![0; task.window.width * task.window.height * 3];
        let part = Region::whole(picture.width, picture.height);
        Resizer::default().run::<3>(Pixels { bytes: &picture.pixels, part }, task, &mut into);
        let four: Vec<u8> = picture.pixels.chunks(3).flat_map(|p| [p[0], p[1], p[2], 9]).collect();
        let mut padded = vec![0; task.window.width * task.window.height * 4];
        Resizer::default().run::<4>(Pixels { bytes: &four, part }, task, &mut padded);
        let expected: Vec<u8> = padded.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
        assert_eq!(into, expected, "pixels of three and of four bytes");
        into
    }

    fn task(region: Region, width: usize, height: usize, filter: Filter) -> Resampling {
        Resampling { region, width, height, window: Region::whole(width, height), filter }
    }

    /// Stored references are Pillow's; equal to the bit, where the group allows one level.
    #[test]
    fn g31_resampling_is_pillows_to_the_bit() {
        use Filter::{Bicubic, Bilinear};
        let picture = fixture("colour444.png");
        let whole = Region::whole(37, 29);
        let box_of = |left, top, width, height| Region { left, top, width, height };
        for (name, task) in [
            ("smaller", task(whole, 16, 12, Bilinear)),
            ("larger", task(box_of(3, 5, 20, 21), 41, 35, Bilinear)),
            ("cubic", task(whole, 13, 40, Bicubic)),
            ("flat", task(box_of(1, 20, 36, 4), 5, 5, Bicubic)),
            ("centre", centre_crop(37, 29, 24, 20, Bilinear)),
        ] {
            let reference = fixture(&format!("resized-{name}.png"));
            assert_eq!(
                (reference.width, reference.height),
                (task.window.width, task.window.height)
            );
            assert_eq!(run(&picture, &task), reference.pixels, "{name}");
        }
    }

    #[test]
    fn one_plane_at_a_time_gives_the_same_bytes_as_all_channels_together() {
        let picture = fixture("colour444.png");
        let task = task(Region { left: 2, top: 1, width: 30, height: 25 }, 19, 23, Filter::Bicubic);
        let mut planes = vec![0; picture.pixels.len()];
        picture.planes(&mut planes);
        let together = run(&picture, &task);
        for channel in 0..3 {
            let mut into = vec![0; 19 * 23];
            let plane = &planes[channel * 37 * 29..][..37 * 29];
            Resizer::default().plane(plane, picture.shape(), &task, &mut into);
            let expected: Vec<u8> = together.iter().skip(channel).step_by(3).copied().collect();
            assert_eq!(into, expected);
        }
    }

    #[test]
    fn a_picture_of_the_size_asked_for_keeps_its_bytes() {
        let picture = fixture("colour444.png");
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            let same = task(Region::whole(37, 29), 37, 29, filter);
            assert_eq!(run(&picture, &same), picture.pixels);
        }
    }

    /// One pixel high and a million wide: weights are kept for the window only.
    #[test]
    fn extreme_proportions_take_little_memory() {
        let width = 1_000_000;
        let pixels = Pixels { bytes: &vec![7; width * 3], part: Region::whole(width, 1) };
        let task = centre_crop(width, 1, 256, 224, Filter::Bilinear);
        let mut into = vec![0; 224 * 224 * 3];
        let mut resizer = Resizer::default();
        resizer.run::<3>(pixels, &task, &mut into);
        assert!(into.iter().all(|&byte| byte == 7));
        assert!(resizer.between.capacity() < 1 << 20 && resizer.columns.values.len() < 4096);
    }
}
