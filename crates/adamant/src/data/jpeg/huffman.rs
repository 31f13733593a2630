//! Huffman codes as tables. Source: ITU-T T.81, annexes C and F.2.2.

/// Bits that one look into the table answers; a table of them fits the innermost cache.
pub const LOOK: u32 = 11;

/// A code: which bits stand for which symbol.
#[derive(Clone, Debug)]
pub struct Table {
    /// By the next bits: see [`Entry`].
    entries: Vec<u32>,
    /// By length from `LOOK + 1` on: the first 16 bits that are beyond the codes of this length.
    limits: [u32; 17],
    /// What is added to a code of this length to find its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// What the next bits mean: the number of bits they take (8 bits), the symbol (8 bits), the value (16 bits).
///
/// With [`Entry::HAS_VALUE`] the bits include those of the value behind the symbol. 0: the code is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u32);

impl Entry {
    const HAS_VALUE: u32 = 0x80;

    /// Whether the code is longer than [`LOOK`] bits, or none.
    pub fn is_long(self) -> bool {
        self.0 == 0
    }

    /// Whether the value is known too.
    pub fn has_value(self) -> bool {
        self.0 & Self::HAS_VALUE != 0
    }

    /// Bits taken.
    pub fn bits(self) -> u32 {
        self.0 & 0x7f
    }

    /// The symbol: a run of zeros and the size of a value.
    pub fn symbol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The value.
    pub fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }
}

impl Table {
    /// A code with so many symbols of each length, or `None` if there can be none.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            entries: vec![0; 1 << LOOK],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut at) = (0_u32, 0);
        for length in 1..=16_u32 {
            let count = u32::from(counts[length as usize - 1]);
            if code + count > 1 << length {
                return None;
            }
            table.offsets[length as usize] = at as i32 - code as i32;
            for _ in 0..count {
                if length <= LOOK {
                    table.fill(code, length, *symbols.get(at)?);
                }
                (code, at) = (code + 1, at + 1);
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    fn fill(&mut self, code: u32, length: u32, symbol: u8) {
        let spare = LOOK - length;
        let size = u32::from(symbol & 15);
        for rest in 0..1_u32 << spare {
            let entry = if size > 0 && size <= spare {
                let value = extend(rest >> (spare - size), size);
                (length + size) | Entry::HAS_VALUE | (value as u16 as u32) << 16
            } else {
                length
            };
            self.entries[(code << spare | rest) as usize] = entry | u32::from(symbol) << 8;
        }
    }

    /// What the next [`LOOK`] bits mean.
    pub fn look(&self, bits: u64) -> Entry {
        Entry(self.entries[bits as usize & ((1 << LOOK) - 1)])
    }

    /// Length and symbol of a code longer than [`LOOK`], given the next 16 bits; `None` if no code begins so.
    pub fn look_further(&self, bits: u32) -> Option<(u32, u8)> {
        let length = (LOOK + 1..=16).find(|&length| bits < self.limits[length as usize])?;
        let at = (bits >> (16 - length)) as i32 + self.offsets[length as usize];
        Some((length, *self.symbols.get(usize::try_from(at).ok()?)?))
    }
}

/// A value of `size` bits with its sign. Source: T.81, figure F.12.
pub fn extend(bits: u32, size: u32) -> i16 {
    let value = bits as i32;
    let is_negative = value < 1 << (size - 1);
    (if is_negative { value - (1 << size) + 1 } else { value }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_codes_give_their_value_at_once_and_long_ones_their_symbol() {
        // Codes 0 (symbol 0x02), 10 (0x11), and one of 12 bits, 110000000000 (0x05).
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[11]) = (1, 1, 1);
        let table = Table::new(&counts, &[0x02, 0x11, 0x05]).unwrap();
        let entry = table.look(0b011_0000_0000);
        assert_eq!(
            (entry.has_value(), entry.bits(), entry.symbol(), entry.value()),
            (true, 3, 2, 3)
        );
        let entry = table.look(0b100_0000_0000);
        assert_eq!((entry.bits(), entry.symbol(), entry.value()), (3, 0x11, -1));
        assert!(table.look(0b110_0000_0000).is_long());
        assert_eq!(table.look_further(0b1100_0000_0000_1111), Some((12, 5)));
        assert_eq!(table.look_further(0b1111_0000_0000_0000), None);
    }

    #[test]
    fn more_codes_than_bits_allow_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3]).is_none());
    }

    #[test]
    fn values_have_the_signs_of_the_standard() {
        assert_eq!(
            [(0, 1), (1, 1), (0, 3), (3, 3), (4, 3), (7, 3)].map(|(b, s)| extend(b, s)),
            [-1, 1, -7, -4, 4, 7]
        );
    }
}
