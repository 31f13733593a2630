//! When APGD asks whether its step is still the right one.

/// Share of an interval's steps that must raise the loss, or the step is halved: rho in the paper.
pub const RISING_SHARE: f64 = 0.75;

/// The intervals between checkpoints, without end: `.22 N` first, each shorter by `.03 N`, down to `.06 N`.
///
/// Source: Croce & Hein 2020, section 3.2, and the authors' code, which rounds each share of the budget down.
pub fn intervals(steps: usize) -> impl Iterator<Item = usize> {
    let share = |hundredths: usize| (hundredths * steps / 100).max(1);
    let (shorter, least) = (share(3), share(6));
    std::iter::successors(Some(share(22)), move |&last| {
        Some(last.saturating_sub(shorter).max(least))
    })
}

/// The three radii of an L1 search, in epsilons, with the steps at each: far first, then at the radius that counts.
///
/// Source: Croce & Hein 2021, "Mind the box", section 4.3; shares rounded up, the last takes what remains.
pub fn radii(steps: usize) -> [(f32, usize); 3] {
    let share = (3 * steps).div_ceil(10).min(steps);
    let second = share.min(steps - share);
    [(3.0, share), (2.0, second), (1.0, steps - share - second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_the_intervals_of_a_hundred_steps_are_those_of_the_paper() {
        let found: Vec<usize> = intervals(100).take(9).collect();
        assert_eq!(found, [22, 19, 16, 13, 10, 7, 6, 6, 6]);
        assert_eq!(intervals(5).take(3).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(RISING_SHARE, 0.75);
    }

    #[test]
    fn g18_an_l1_search_spends_its_steps_at_three_radii() {
        assert_eq!(radii(100), [(3.0, 30), (2.0, 30), (1.0, 40)]);
        assert_eq!(radii(7), [(3.0, 3), (2.0, 3), (1.0, 1)]);
        assert_eq!(radii(0), [(3.0, 0), (2.0, 0), (1.0, 0)]);
    }
}
