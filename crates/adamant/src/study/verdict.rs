//! From a number to a word, by a stated rule.

use super::contrast::Estimate;
use super::spearman::Trend;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a claim says of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// Above 0; of a trend, rising.
    Above,
    /// Below 0; of a trend, falling.
    Below,
    /// Within the resolution of 0.
    Near,
}

/// What the data says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval lies where the claim puts it.
    Consistent,
    /// The interval lies on the other side.
    Contradicted,
    /// There is no effect that matters at this resolution.
    NotSeen,
    /// Too few seeds or images to say.
    Undecided,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consistent => "consistent",
            Self::Contradicted => "contradicted",
            Self::NotSeen => "not seen",
            Self::Undecided => "undecided",
        })
    }
}

/// Fewer seeds than this decide nothing.
const SEEDS: usize = 3;

/// The rule of contrasts, for a page.
pub const CONTRAST_RULE: &str = "Each arm's figure enters seed by seed (paired). The 95 % interval has two parts, added \
in quadrature: Student's t over seeds, and the chance of the judged images, by the spread over images of what each adds to the number (all arms of a seed are \
judged on the same images; where a record does not tell image by image: binomial, arms taken as independent). The claim \
expects the number above or below 0: **consistent** if the whole interval lies there, **contradicted** if it lies on the \
other side, **not seen** if it contains 0 and stays within the resolution, else **undecided**. Where the claim expects no \
effect: **consistent** if the interval stays within the resolution, **contradicted** if it lies wholly outside. Fewer than \
3 seeds are **undecided**, and so is what compares an arm with a cell at chance: it has learnt nothing.";

/// The rule of trends, for a page.
pub const TREND_RULE: &str = "Spearman's rank correlation with the axis, seed by seed, averaged; if order were chance its \
standard deviation would be 1 / sqrt(seeds x (places - 1)). **consistent** or **contradicted** if the mean lies more than \
1.96 of these from 0 on the expected or the other side and the figure moves by at least the resolution from end to end; \
else **not seen**. Fewer than 3 seeds are **undecided**, and so is a trend with an arm at chance.";

/// The verdict on a number with an interval; `resolution` is the smallest effect that matters.
pub fn of_estimate(estimate: &Estimate, expected: Expectation, resolution: f64) -> Verdict {
    let [low, high] = estimate.interval;
    let is_small = low >= -resolution && high <= resolution;
    if estimate.seeds < SEEDS {
        return Verdict::Undecided;
    }
    match expected {
        Expectation::Above if low > 0.0 => Verdict::Consistent,
        Expectation::Above if high < 0.0 => Verdict::Contradicted,
        Expectation::Below if high < 0.0 => Verdict::Consistent,
        Expectation::Below if low > 0.0 => Verdict::Contradicted,
        Expectation::Near if is_small => Verdict::Consistent,
        Expectation::Near if low > resolution || high < -resolution => Verdict::Contradicted,
        Expectation::Above | Expectation::Below if is_small => Verdict::NotSeen,
        _ => Verdict::Undecided,
    }
}

/// The verdict on a trend.
pub fn of_trend(trend: &Trend, expected: Expectation, resolution: f64) -> Verdict {
    let is_clear = trend.z.abs() > 1.96 && trend.range.abs() >= resolution;
    let sign = match expected {
        Expectation::Above => 1.0,
        Expectation::Below => -1.0,
        Expectation::Near => 0.0,
    };
    // Ranks and ends must agree: a hump has neither direction.
    let agree = trend.z * trend.range > 0.0;
    match (trend.seeds >= SEEDS, is_clear && agree) {
        (false, _) => Verdict::Undecided,
        (true, false) if expected == Expectation::Near => Verdict::Consistent,
        (true, false) => Verdict::NotSeen,
        (true, true) if sign * trend.z > 0.0 => Verdict::Consistent,
        (true, true) => Verdict::Contradicted,
    }
}

#[cfg(test)]
mod tests {
    use super::Expectation::{Above, Below, Near};
    use super::Verdict::{Consistent, Contradicted, NotSeen, Undecided};
    use super::*;

    #[test]
    fn an_interval_becomes_the_word_of_where_it_lies() {
        for (interval, expected, verdict) in [
            ([0.01, 0.05], Above, Consistent),
            ([0.01, 0.05], Below, Contradicted),
            ([-0.05, -0.01], Above, Contradicted),
            ([-0.05, -0.01], Below, Consistent),
            ([-0.015, 0.015], Above, NotSeen),
            ([-0.015, 0.015], Below, NotSeen),
            ([-0.05, 0.015], Above, Undecided),
            ([-0.015, 0.015], Near, Consistent),
            ([0.005, 0.015], Near, Consistent),
            ([0.03, 0.05], Near, Contradicted),
            ([-0.05, -0.03], Near, Contradicted),
            ([0.01, 0.03], Near, Undecided),
        ] {
            let value = 0.5 * (interval[0] + interval[1]);
            let estimate = Estimate { value, interval, seeds: 3, samples: 1000 };
            assert_eq!(
                of_estimate(&estimate, expected, 0.02),
                verdict,
                "{interval:?} {expected:?}"
            );
            let few = Estimate { seeds: 2, ..estimate };
            assert_eq!(of_estimate(&few, expected, 0.02), Undecided);
        }
    }

    #[test]
    fn a_trend_needs_order_and_size_in_one_direction() {
        let trend =
            Trend { correlation: -0.9, z: -3.0, range: -0.1, seeds: 3, places: 6, samples: 1000 };
        assert_eq!(of_trend(&trend, Below, 0.02), Consistent);
        assert_eq!(of_trend(&trend, Above, 0.02), Contradicted);
        assert_eq!(of_trend(&Trend { range: -0.01, ..trend }, Below, 0.02), NotSeen);
        assert_eq!(of_trend(&Trend { z: -1.0, ..trend }, Below, 0.02), NotSeen);
        assert_eq!(of_trend(&Trend { range: 0.1, ..trend }, Below, 0.02), NotSeen);
        assert_eq!(of_trend(&Trend { seeds: 2, ..trend }, Below, 0.02), Undecided);
    }
}
