//! Where the names of curves stand: at their ends, where there is room, else above the plot.

use super::{Chart, Curve, Mark};

/// Breadth of a letter at the size of a plot's text, on average; generous, since fonts differ.
pub(super) const LETTER: f32 = 6.2;
/// Height of a line of a plot's text.
pub(super) const LINE: f32 = 15.0;

pub(super) fn breadth(text: &str) -> f32 {
    LETTER * text.chars().count() as f32
}

/// Where names stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    /// At the right end of each line; the room they need.
    Ends(f32),
    /// Above the plot: each name's curve, from the left, and line from the top.
    Above(Vec<(usize, f32, usize)>),
}

impl Key {
    /// For a drawing so broad.
    pub(super) fn of(chart: &Chart, width: f32) -> Self {
        let named = || chart.curves.iter().filter(|curve| !curve.name.is_empty());
        let longest = named().map(|curve| breadth(&curve.name)).fold(0.0, f32::max);
        // A cloud of dots has no end at which its name could stand.
        let have_ends = named().all(|curve| curve.mark != Mark::Dots && ends_last(chart, curve));
        if have_ends && longest <= 0.3 * width && named().count() <= 8 {
            return Self::Ends(if longest > 0.0 { longest + 9.0 } else { 10.0 });
        }
        let (mut placed, mut x, mut line) = (Vec::new(), 0.0, 0);
        for (place, curve) in chart.curves.iter().enumerate().filter(|(_, c)| !c.name.is_empty()) {
            let needed = 17.0 + breadth(&curve.name);
            if x > 0.0 && x + needed > width {
                (x, line) = (0.0, line + 1);
            }
            placed.push((place, x, line));
            x += needed + 12.0;
        }
        Self::Above(placed)
    }

    /// Lines above the plot.
    pub(super) fn lines(&self) -> usize {
        match self {
            Self::Ends(_) => 0,
            Self::Above(placed) => placed.last().map_or(0, |(_, _, line)| line + 1),
        }
    }
}

/// Whether a curve goes on to the last tenth of the plot.
fn ends_last(chart: &Chart, curve: &Curve) -> bool {
    let xs = |curve: &Curve| curve.points.iter().map(|point| point.x).fold(f64::MIN, f64::max);
    let first = chart.curves.iter().flat_map(|c| &c.points).map(|p| p.x).fold(f64::MAX, f64::min);
    let last = chart.curves.iter().map(xs).fold(f64::MIN, f64::max);
    xs(curve) >= last - 0.1 * (last - first)
}

/// Heights moved apart until they are at least `apart` from each other, in their order, between `top` and `bottom`.
pub(super) fn spread(heights: &mut [(usize, f32)], apart: f32, top: f32, bottom: f32) {
    heights.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut free = top;
    for (_, height) in heights.iter_mut() {
        *height = height.max(free);
        free = *height + apart;
    }
    let mut free = bottom;
    for (_, height) in heights.iter_mut().rev() {
        *height = height.min(free);
        free = *height - apart;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_lie_on_each_other_are_moved_apart_in_their_order() {
        let mut heights = [(0, 50.0), (1, 48.0), (2, 99.0), (3, 98.0)];
        spread(&mut heights, 10.0, 0.0, 100.0);
        assert_eq!(heights.map(|(place, _)| place), [1, 0, 3, 2]);
        assert!(heights.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 10.0), "{heights:?}");
        assert!(heights[3].1 <= 100.0);
    }
}
