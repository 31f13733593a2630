//! One plane of a JPEG picture: from bits to samples, of the blocks that are wanted.

use std::ops::Range;

use kernels::Isa;
use kernels::pixels::inverse_cosine::{BLOCKS, LENGTH, inverse_cosine};

use super::bits::Bits;
use super::header::PLACES;
use super::huffman::{Table, extend};

/// Neighbouring blocks that are transformed together.
#[derive(Debug)]
struct Group {
    values: Box<[i16; LENGTH]>,
    /// How many blocks there are.
    filled: usize,
}

impl Group {
    fn new() -> Self {
        Self { values: Box::new([0; LENGTH]), filled: 0 }
    }
}

/// A plane while it is decoded.
#[derive(Debug)]
pub struct Component<'a> {
    /// Blocks beside each other in a unit of the scan.
    pub across: usize,
    /// Blocks above each other in a unit of the scan.
    pub down: usize,
    /// The block columns that are wanted.
    pub columns: Range<usize>,
    /// The block rows that are wanted.
    pub rows: Range<usize>,
    /// The samples of these blocks, row by row.
    pub samples: Vec<u8>,
    pub(super) steps: &'a [i16; 64],
    pub(super) first: &'a Table,
    pub(super) others: &'a Table,
    prediction: i16,
    groups: Vec<Group>,
    /// Where values go that nobody wants.
    sink: Group,
}

impl<'a> Component<'a> {
    /// A plane of which the blocks of `columns` and `rows` are wanted.
    pub fn new(
        (across, down): (usize, usize),
        columns: Range<usize>,
        rows: Range<usize>,
        (steps, first, others): (&'a [i16; 64], &'a Table, &'a Table),
    ) -> Self {
        let samples = vec![0; columns.len() * rows.len() * 64];
        let groups = (0..down).map(|_| Group::new()).collect();
        let (prediction, sink) = (0, Group::new());
        Self {
            across,
            down,
            columns,
            rows,
            samples,
            steps,
            first,
            others,
            prediction,
            groups,
            sink,
        }
    }

    /// Samples in a row.
    pub fn stride(&self) -> usize {
        self.columns.len() * 8
    }

    /// Forgets the last first value, as a restart marker asks.
    pub fn restart(&mut self) {
        self.prediction = 0;
    }

    /// Reads the blocks of one unit of the scan; `None` where the bits are no code.
    pub fn unit(
        &mut self,
        isa: Isa,
        bits: &mut Bits<'_>,
        unit_row: usize,
        unit_column: usize,
    ) -> Option<()> {
        for down in 0..self.down {
            let row = unit_row * self.down + down;
            for across in 0..self.across {
                let column = unit_column * self.across + across;
                let is_wanted = self.rows.contains(&row) && self.columns.contains(&column);
                let group = if is_wanted { &mut self.groups[down] } else { &mut self.sink };
                let lane = group.filled;
                block(
                    bits,
                    (self.first, self.others),
                    &mut self.prediction,
                    &mut group.values,
                    lane,
                )?;
                if is_wanted {
                    group.filled += 1;
                    if group.filled == BLOCKS || column + 1 == self.columns.end {
                        self.transform(isa, down, row, column);
                    }
                }
            }
        }
        Some(())
    }

    /// Turns a group that ends at block `column` into samples.
    fn transform(&mut self, isa: Isa, down: usize, row: usize, column: usize) {
        let stride = self.stride();
        let group = &mut self.groups[down];
        let first = column + 1 - group.filled - self.columns.start;
        let start = (row - self.rows.start) * 8 * stride + first * 8;
        let output = &mut self.samples[start..];
        inverse_cosine(isa, &group.values, self.steps, group.filled, stride, output);
        group.values.fill(0);
        group.filled = 0;
    }
}

/// One block. Source: ITU-T T.81, F.2.2.
#[inline(always)]
fn block(
    bits: &mut Bits<'_>,
    (first, others): (&Table, &Table),
    prediction: &mut i16,
    values: &mut [i16; LENGTH],
    lane: usize,
) -> Option<()> {
    bits.refill();
    let entry = first.look(bits.peek(super::huffman::LOOK));
    let difference = if entry.has_value() {
        bits.skip(entry.bits());
        entry.value()
    } else {
        value(bits, first, entry)?.1
    };
    *prediction = prediction.wrapping_add(difference);
    values[lane] = *prediction;
    let mut place = 1;
    while place < 64 {
        bits.refill();
        let entry = others.look(bits.peek(super::huffman::LOOK));
        let (symbol, value) = if entry.has_value() {
            bits.skip(entry.bits());
            (entry.symbol(), entry.value())
        } else {
            value(bits, others, entry)?
        };
        if symbol & 15 == 0 {
            if symbol != 0xf0 {
                break;
            }
            place += 16;
            continue;
        }
        place += usize::from(symbol >> 4);
        let at = usize::from(*PLACES.get(place)?);
        values[at * BLOCKS + lane] = value;
        place += 1;
    }
    Some(())
}

/// Symbol and value of a code that is long or has a long value behind it.
#[inline(always)]
fn value(bits: &mut Bits<'_>, table: &Table, entry: super::huffman::Entry) -> Option<(u8, i16)> {
    let (length, symbol) = if entry.is_long() {
        table.look_further(bits.peek(16) as u32)?
    } else {
        (entry.bits(), entry.symbol())
    };
    bits.skip(length);
    let size = u32::from(symbol & 15);
    if size == 0 {
        return Some((symbol, 0));
    }
    let value = extend(bits.peek(size) as u32, size);
    bits.skip(size);
    Some((symbol, value))
}
