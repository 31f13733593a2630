//! Ordinary photographs: the part that is wanted, with libjpeg's bits.

use std::ops::Range;

use kernels::Isa;
use kernels::pixels::jpeg_colour::{spread, to_rgb, weigh_rows};

use super::super::picture::{Colours, Picture, Wanted};
use super::super::resize::{Region, fastest};
use super::bits::Bits;
use super::component::Component;
use super::header::{Header, Sampling};

/// Decodes the wanted part, to one byte a pixel for grey or to four: red, green, blue and nothing.
///
/// Rows below the part are not read, so damage there is not found.
pub fn decode(
    file: &[u8],
    header: &Header,
    colours: Colours,
    wanted: Wanted<'_>,
    into: &mut Picture,
) -> Result<(), String> {
    let isa = fastest();
    let part = wanted(header.width, header.height);
    let planes = scan(isa, &file[header.data..], header, part)?;
    (into.width, into.height, into.part) = (header.width, header.height, part);
    let is_grey = header.sampling == Sampling::Grey && colours == Colours::AsStored;
    (into.channels, into.spacing) = if is_grey { (1, 1) } else { (3, 4) };
    let row_bytes = part.width * into.spacing;
    into.pixels.resize(part.height * row_bytes, 0);
    let [luma, chroma @ ..] = &planes[..] else { unreachable!("a header has at least one plane") };
    let mut rows = [Row::default(), Row::default()];
    for (offset, output) in into.pixels.chunks_exact_mut(row_bytes).enumerate() {
        let y = part.top + offset;
        let start = (y - luma.rows.start * 8) * luma.stride() + part.left - luma.columns.start * 8;
        let luma = &luma.samples[start..][..part.width];
        match chroma {
            [] if is_grey => output.copy_from_slice(luma),
            [] => {
                for (pixel, &grey) in output.chunks_exact_mut(4).zip(luma) {
                    pixel.copy_from_slice(&[grey, grey, grey, 0]);
                }
            }
            _ => {
                for (row, plane) in rows.iter_mut().zip(chroma) {
                    row.fill(isa, plane, header, part, y);
                }
                let [blue, red] = &rows;
                to_rgb(isa, luma, blue.shown(part), red.shown(part), output);
            }
        }
    }
    Ok(())
}

/// Reads the scan as far as the part needs.
fn scan<'a>(
    isa: Isa,
    data: &[u8],
    header: &'a Header,
    part: Region,
) -> Result<Vec<Component<'a>>, String> {
    let luma = header.planes[0];
    let mut planes: Vec<Component<'a>> = Vec::with_capacity(header.planes.len());
    for plane in &header.planes {
        let blocks = |from: usize, count: usize, size: usize, shrink: usize| -> Range<usize> {
            let samples = size.div_ceil(shrink);
            // Chroma is weighed with its neighbours on both sides.
            let beyond = usize::from(shrink > 1);
            let first = (from / shrink).saturating_sub(beyond);
            let last = ((from + count - 1) / shrink + beyond).min(samples - 1);
            first / 8..last / 8 + 1
        };
        let (across, down) = (luma.across / plane.across, luma.down / plane.down);
        let code = |tables: &'a [Option<_>; 4], slot: usize| {
            tables[slot].as_ref().expect("the header was read only with all its codes")
        };
        planes.push(Component::new(
            (plane.across, plane.down),
            blocks(part.left, part.width, header.width, across),
            blocks(part.top, part.height, header.height, down),
            (
                &header.steps[plane.steps],
                code(&header.first, plane.first),
                code(&header.others, plane.others),
            ),
        ));
    }
    let units_across = header.width.div_ceil(8 * luma.across);
    let units_down = planes.iter().map(|plane| plane.rows.end.div_ceil(plane.down));
    let units_down = units_down.max().expect("a header has at least one plane");
    let mut bits = Bits::new(data);
    for unit in 0..units_down * units_across {
        let (row, column) = (unit / units_across, unit % units_across);
        let broken = |what: &str| {
            let all = header.height.div_ceil(8 * luma.down) * units_across;
            Err(format!("broken JPEG: {what} in block {unit} of {all}"))
        };
        if header.restart > 0 && unit > 0 && unit.is_multiple_of(header.restart) {
            if !bits.restart(unit / header.restart - 1) {
                return broken("no restart marker");
            }
            planes.iter_mut().for_each(Component::restart);
        }
        for plane in &mut planes {
            if plane.unit(isa, &mut bits, row, column).is_none() {
                return broken("bits that are no code");
            }
        }
        if bits.is_beyond_end() {
            return broken("the data ends");
        }
    }
    Ok(planes)
}

/// Chroma of one row of pixels.
#[derive(Debug, Default)]
struct Row {
    /// Chroma samples, weighed between rows, with a neighbour on each side.
    sums: Vec<u16>,
    /// One value a pixel, from the even column at or before the part on.
    spread: Vec<u8>,
}

impl Row {
    fn fill(&mut self, isa: Isa, plane: &Component<'_>, header: &Header, part: Region, y: usize) {
        let stride = plane.stride();
        let line = |row: usize| &plane.samples[(row - plane.rows.start * 8) * stride..][..stride];
        if header.sampling == Sampling::Full {
            let first = part.left - plane.columns.start * 8;
            self.spread.clear();
            // The even column at or before the part: one that is not shown, where the part begins at an odd one.
            self.spread.resize(part.left % 2, 0);
            self.spread.extend_from_slice(&line(y)[first..first + part.width]);
            return;
        }
        let (first, last) = (part.left / 2, (part.left + part.width - 1) / 2);
        let count = last + 1 - first;
        let edge = header.width.div_ceil(2) - 1;
        let offset = plane.columns.start * 8;
        self.sums.resize(count + 2, 0);
        self.spread.resize(count * 2, 0);
        // At the picture's edges the neighbour is the sample itself.
        let (before, after) = (first.saturating_sub(1) - offset, (last + 1).min(edge) - offset);
        let own = first - offset..last + 1 - offset;
        let (rounding, shift) = if header.sampling == Sampling::HalfAcross {
            let line = line(y);
            for (sum, &sample) in self.sums[1..=count].iter_mut().zip(&line[own]) {
                *sum = u16::from(sample);
            }
            (self.sums[0], self.sums[count + 1]) = (line[before].into(), line[after].into());
            ([1, 2], 2)
        } else {
            let row = y / 2;
            let lowest = header.height.div_ceil(2) - 1;
            let other =
                if y.is_multiple_of(2) { row.saturating_sub(1) } else { (row + 1).min(lowest) };
            let (near, far) = (line(row), line(other));
            weigh_rows(isa, &near[own.clone()], &far[own], &mut self.sums[1..=count]);
            let weigh = |at: usize| 3 * u16::from(near[at]) + u16::from(far[at]);
            (self.sums[0], self.sums[count + 1]) = (weigh(before), weigh(after));
            ([8, 7], 4)
        };
        spread(isa, &self.sums, rounding, shift, &mut self.spread);
    }

    fn shown(&self, part: Region) -> &[u8] {
        &self.spread[part.left % 2..][..part.width]
    }
}
