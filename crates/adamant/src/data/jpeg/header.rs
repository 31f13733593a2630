//! What stands before the compressed data of a JPEG file. Source: ITU-T T.81, annex B.

use super::huffman::Table;

/// Value `k` in the order of the file belongs at this place, row by row. Source: T.81, figure 5.
#[rustfmt::skip]
pub const PLACES: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One plane, as the header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    id: u8,
    /// Blocks beside each other in a unit of the scan.
    pub across: usize,
    /// Blocks above each other in a unit of the scan.
    pub down: usize,
    /// Which quantisation steps.
    pub steps: usize,
    /// Which code of first values.
    pub first: usize,
    /// Which code of all other values.
    pub others: usize,
}

/// How chroma is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// There is none.
    Grey,
    /// As luma.
    Full,
    /// One for two pixels beside each other.
    HalfAcross,
    /// One for two by two pixels.
    Half,
}

/// A file that [`baseline`](super::baseline) reads.
#[derive(Debug)]
pub struct Header {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// One or three planes.
    pub planes: Vec<Plane>,
    /// How chroma is sampled.
    pub sampling: Sampling,
    /// Quantisation steps, row by row.
    pub steps: [[i16; 64]; 4],
    /// Codes of first values.
    pub first: [Option<Table>; 4],
    /// Codes of all other values.
    pub others: [Option<Table>; 4],
    /// Units between restarts; 0 for none.
    pub restart: usize,
    /// Where the compressed data begins.
    pub data: usize,
}

impl Header {
    /// Reads up to the first scan; `None` for whatever is not plain baseline, broken headers among it.
    pub fn read(file: &[u8]) -> Option<Self> {
        let mut header = Self {
            width: 0,
            height: 0,
            planes: Vec::new(),
            sampling: Sampling::Grey,
            steps: [[0; 64]; 4],
            first: [const { None }; 4],
            others: [const { None }; 4],
            restart: 0,
            data: 0,
        };
        let (mut is_jfif, mut transform) = (false, None);
        let mut at = 2;
        loop {
            let (&marker, kind) = (file.get(at)?, *file.get(at + 1)?);
            if marker != 0xff {
                return None;
            }
            if kind == 0xff {
                at += 1; // fill bytes may stand before a marker
                continue;
            }
            let length = usize::from(u16::from_be_bytes([*file.get(at + 2)?, *file.get(at + 3)?]));
            let body = file.get(at + 4..at + 2 + length)?;
            at += 2 + length;
            match kind {
                0xc0 | 0xc1 => header.frame(body)?,
                0xc4 => header.codes(body)?,
                0xdb => header.quantisation(body)?,
                0xdd => header.restart = usize::from(u16::from_be_bytes(body.try_into().ok()?)),
                0xe0 => is_jfif |= body.starts_with(b"JFIF\0"),
                0xee if body.starts_with(b"Adobe") => transform = Some(*body.get(11)?),
                0xe0..=0xef | 0xfe => {}
                0xda => {
                    header.scan(body)?;
                    header.data = at;
                    break;
                }
                _ => return None,
            }
        }
        let ids: Vec<u8> = header.planes.iter().map(|plane| plane.id).collect();
        // Source: libjpeg, `default_decompress_parms`: JFIF says luma and chroma, else Adobe's marker, else the names.
        let is_rgb = !is_jfif && (transform == Some(0) || (transform.is_none() && ids == *b"RGB"));
        if ids.len() == 3 && is_rgb {
            return None;
        }
        header.sampling = header.sampling()?;
        Some(header)
    }

    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let &[8, h1, h0, w1, w0, count, ref planes @ ..] = body else { return None };
        if !self.planes.is_empty() || !matches!(count, 1 | 3) {
            return None;
        }
        self.height = usize::from(u16::from_be_bytes([h1, h0]));
        self.width = usize::from(u16::from_be_bytes([w1, w0]));
        if self.height == 0 || self.width == 0 || planes.len() != 3 * usize::from(count) {
            return None;
        }
        for plane in planes.chunks_exact(3) {
            let (across, down) = (usize::from(plane[1] >> 4), usize::from(plane[1] & 15));
            let steps = usize::from(plane[2]);
            if steps > 3 {
                return None;
            }
            self.planes.push(Plane { id: plane[0], across, down, steps, first: 0, others: 0 });
        }
        Some(())
    }

    fn codes(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&class, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(count)?;
            let table = Table::new(counts, symbols)?;
            let slot = usize::from(class & 15);
            match class >> 4 {
                0 => *self.first.get_mut(slot)? = Some(table),
                1 => *self.others.get_mut(slot)? = Some(table),
                _ => return None,
            }
            body = rest;
        }
        Some(())
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&class, rest)) = body.split_first() {
            let steps = self.steps.get_mut(usize::from(class))?; // 16-bit steps do not occur in eight-bit files
            let (values, rest) = rest.split_first_chunk::<64>()?;
            for (&place, &value) in PLACES.iter().zip(values) {
                steps[usize::from(place)] = i16::from(value);
            }
            body = rest;
        }
        Some(())
    }

    fn scan(&mut self, body: &[u8]) -> Option<()> {
        let (&count, rest) = body.split_first()?;
        let planes = self.planes.len();
        // One scan with all planes, from the first value to the last.
        if planes == 0 || usize::from(count) != planes || rest.len() != 2 * planes + 3 {
            return None;
        }
        if rest[2 * planes..] != [0, 63, 0] {
            return None;
        }
        for (plane, named) in self.planes.iter_mut().zip(rest.chunks_exact(2)) {
            plane.first = usize::from(named[1] >> 4);
            plane.others = usize::from(named[1] & 15);
            let is_known =
                self.first.get(plane.first)?.is_some() && self.others.get(plane.others)?.is_some();
            if named[0] != plane.id || !is_known {
                return None;
            }
        }
        Some(())
    }

    fn sampling(&mut self) -> Option<Sampling> {
        let factors: Vec<_> = self.planes.iter().map(|p| (p.across, p.down)).collect();
        match factors[..] {
            [_] => {
                // Blocks of a single plane come one by one, whatever its factors say (T.81, A.2.2).
                (self.planes[0].across, self.planes[0].down) = (1, 1);
                Some(Sampling::Grey)
            }
            [(1, 1), (1, 1), (1, 1)] => Some(Sampling::Full),
            // libjpeg repeats samples instead of weighing them in planes of one or two columns.
            [_, ..] if self.width <= 4 => None,
            [(2, 1), (1, 1), (1, 1)] => Some(Sampling::HalfAcross),
            [(2, 2), (1, 1), (1, 1)] => Some(Sampling::Half),
            _ => None,
        }
    }
}
