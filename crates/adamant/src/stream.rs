//! Randomness as a function of what it is for, never of history.
//!
//! Every draw is Philox4x32-10 of (seed; purpose, time, index, restart), so results do not depend on batch size, tile,
//! thread, rank or interruption. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

/// What a draw is for; two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Initial weights.
    Initialize = 1,
    /// Which images are held out for validation.
    Split = 2,
    /// Order of an epoch.
    Shuffle = 3,
    /// Crop, flip and the like of one image in one epoch.
    Augment = 4,
    /// Where an attack starts.
    AttackStart = 5,
    /// The coin of a clean start.
    AttackCoin = 6,
    /// The class a targeted attack wants.
    AttackTarget = 7,
    /// Which clean counterparts stay in a mixture.
    CleanFraction = 8,
    /// Which images of a data set are evaluated.
    Subset = 9,
    /// The queries of an attack that tries and keeps what helps.
    AttackQuery = 10,
    /// The box of a random crop of one image in one epoch.
    Crop = 11,
    /// The colour changes of one image in one epoch.
    Colour = 12,
    /// Noise beside which an attack is held.
    Control = 13,
}

/// What a draw depends on besides the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is for.
    pub purpose: Purpose,
    /// Epoch or step, whichever the purpose counts; 0 in evaluation.
    pub time: u32,
    /// Image index, layer or rank, whichever the purpose counts.
    pub index: u32,
    /// Restart of an attack; 0 elsewhere.
    pub restart: u32,
}

/// All randomness of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
}

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The numbers that belong to `key`, from the first.
    pub fn draws(&self, key: Key) -> Draws {
        // 24 bits of restart and 8 of purpose share a word; 2^24 restarts are more than anybody runs.
        assert!(key.restart < 1 << 24, "restart {} does not fit in 24 bits", key.restart);
        let word = (key.purpose as u32) << 24 | key.restart;
        Draws {
            key: [self.seed as u32, (self.seed >> 32) as u32],
            counter: [0, key.time, key.index, word],
            block: [0; 4],
            used: 4,
        }
    }
}

/// The numbers of one key, in order.
#[derive(Clone, Debug)]
pub struct Draws {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Draws {
    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] =
                self.counter[0].checked_add(1).expect("fewer than 2^34 numbers per key");
            self.used = 0;
        }
        let bits = self.block[self.used];
        self.used += 1;
        bits
    }

    /// Uniform in `[0, 1)`, 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform over `0..bound`, without bias. `bound` must be positive.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an empty range has no element to draw");
        // Lemire 2019: multiply and shift, rejecting the few low products that would favour small values.
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.bits()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Standard normal, by the Box-Muller transform.
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }
}

fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
