//! The bits of compressed data, without the zeros stuffed behind bytes of ones.

/// A reader of bits, the first ones of the file first.
#[derive(Debug)]
pub struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the highest down.
    buffer: u64,
    /// How many of them count.
    count: u32,
    /// How many of them stand for data that is not there.
    missing: u32,
}

impl<'a> Bits<'a> {
    /// Reads from the beginning of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0, missing: 0 }
    }

    /// Makes at least 48 bits ready; zeros where the data has ended.
    #[inline(always)]
    pub fn refill(&mut self) {
        if self.count >= 48 {
            return;
        }
        if let Some(bytes) = self.data.get(self.at..self.at + 8) {
            let word = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
            // No byte is 0xff: the usual case needs no look at single bytes.
            if !has_ones(word) {
                self.buffer |= word >> self.count;
                let taken = (63 - self.count) >> 3;
                self.at += taken as usize;
                self.count += taken * 8;
                return;
            }
        }
        self.refill_by_bytes();
    }

    #[inline(never)]
    fn refill_by_bytes(&mut self) {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                // A marker, or the end of the file: the compressed data has ended.
                (Some(0xff), _) | (None, _) => {
                    self.missing += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next bits; `count` is 1 to 48 and at most what is ready.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> u64 {
        self.buffer >> (64 - count)
    }

    /// Goes on by `count` bits.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Whether more was read than there is.
    pub fn is_beyond_end(&self) -> bool {
        self.missing > self.count
    }

    /// Goes on behind the next restart marker; false if there is none.
    pub fn restart(&mut self, number: usize) -> bool {
        // Whole bytes that were read ahead of the marker would be data that belongs to nothing.
        (self.buffer, self.count, self.missing) = (0, 0, 0);
        while self.data.get(self.at) == Some(&0xff) && self.data.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        let is_there = self.data.get(self.at) == Some(&0xff)
            && self.data.get(self.at + 1) == Some(&(0xd0 + (number & 7) as u8));
        self.at += 2;
        is_there
    }
}

/// Whether a byte of the word is 0xff. Source: Anderson, "Bit Twiddling Hacks", zero in word, of the complement.
#[inline(always)]
fn has_ones(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    (!word).wrapping_sub(LOW) & word & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bits one by one, stuffed zeros taken out by hand.
    #[test]
    fn bits_come_in_order_through_stuffed_bytes() {
        let mut data: Vec<u8> = (0..200).map(|at| (at * 89 % 256) as u8).collect();
        data[50] = 0xff;
        data[51] = 0xff;
        let plain: Vec<bool> = data
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
            .collect();
        let stuffed: Vec<u8> = data
            .iter()
            .flat_map(|&byte| if byte == 0xff { vec![0xff, 0] } else { vec![byte] })
            .chain([0xff, 0xd9])
            .collect();
        let mut bits = Bits::new(&stuffed);
        let (mut at, mut step) = (0, 1);
        while at + step < plain.len() {
            bits.refill();
            let expected =
                plain[at..at + step].iter().fold(0, |sum, &bit| sum << 1 | u64::from(bit));
            assert_eq!(bits.peek(step as u32), expected, "{at} {step}");
            bits.skip(step as u32);
            assert!(!bits.is_beyond_end());
            (at, step) = (at + step, step % 31 + 1);
        }
        for _ in 0..3 {
            bits.refill();
            bits.skip(31);
        }
        assert!(bits.is_beyond_end());
    }

    #[test]
    fn a_restart_needs_its_marker() {
        let data = [0xab, 0xff, 0xd3, 0x80, 0xff, 0xd9];
        for (number, is_there) in [(3, true), (11, true), (4, false)] {
            let mut bits = Bits::new(&data);
            bits.refill();
            assert_eq!(bits.peek(8), 0xab);
            bits.skip(8);
            assert_eq!(bits.restart(number), is_there);
        }
    }
}
