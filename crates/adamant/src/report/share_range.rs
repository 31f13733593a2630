//! Which shares an axis of a figure on paper shows.

use super::chart::round_step;

/// From `low` to `high`, with every multiple of `step` named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareRange {
    low: f64,
    high: f64,
    step: f64,
}

impl ShareRange {
    /// None to all: for accuracies that must be seen as what they are.
    pub const ALL: Self = Self { low: 0.0, high: 1.0, step: 0.2 };

    /// From about the least to about the greatest of `values`, never beyond none and all: for small differences.
    pub fn near(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (1.0_f64, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (low, high) = (low.min(value.max(0.0)), high.max(value.min(1.0)));
        }
        if low >= high {
            return Self::ALL;
        }
        let step = round_step(high - low, 6);
        let [low, high] = [(low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step];
        Self { low, high, step }
    }

    /// Where a share lies between the ends, 0 to 1; one beyond them at the nearer.
    pub fn along(&self, share: f64) -> f32 {
        ((share.clamp(self.low, self.high) - self.low) / (self.high - self.low)) as f32
    }

    /// The named shares and how they are written.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        let share = |tick: usize| self.low + tick as f64 * self.step;
        let named = |tick| (share(tick), format!("{:.*}%", self.decimals(), 100.0 * share(tick)));
        (0..=count).map(named).collect()
    }

    fn decimals(&self) -> usize {
        let is_whole = |scale: f64| (100.0 * scale * self.step).fract().abs() < 1e-6;
        (0..3).find(|&digits| is_whole(10f64.powi(digits))).unwrap_or(3) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_at_round_shares_around_the_values() {
        let named = |values: &[f64]| {
            let ticks = ShareRange::near(values.iter().copied()).ticks();
            ticks.into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named(&[0.214, 0.263, 0.51]), "20% 25% 30% 35% 40% 45% 50% 55%");
        assert_eq!(named(&[0.0, 1.0]), "0% 20% 40% 60% 80% 100%");
        assert_eq!(named(&[-0.3, 1.2]), "0% 20% 40% 60% 80% 100%", "intervals may leave it");
        assert_eq!(named(&[0.221, 0.229]), "22.0% 22.2% 22.4% 22.6% 22.8% 23.0%");
        assert_eq!(named(&[f64::NAN]), "0% 20% 40% 60% 80% 100%");
        assert_eq!(ShareRange::near([0.2, 0.4]).along(0.3), 0.5);
        assert_eq!(ShareRange::near([0.2, 0.4]).along(0.9), 1.0);
    }
}
