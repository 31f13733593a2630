//! From values to places on an axis, and which values are named there.

use super::{Axis, Scale, Unit};
use crate::report::number::{significant, trimmed};

/// An axis with its ends, laid between two places.
#[derive(Clone, Debug)]
pub(super) struct Laid {
    scale: Scale,
    ends: [f64; 2],
    places: [f32; 2],
}

/// The ends of an axis for data between `low` and `high`: what the axis says, else the data's, never one point.
pub(super) fn ends(axis: &Axis, data: Option<[f64; 2]>) -> [f64; 2] {
    if let Some(range) = axis.range {
        return range;
    }
    let [low, high] = data.unwrap_or([0.0, 1.0]);
    if low < high {
        return [low, high];
    }
    match axis.scale {
        Scale::Logarithmic => [low / 2.0, low * 2.0],
        Scale::Linear if low == 0.0 => [-1.0, 1.0],
        Scale::Linear => [low - 0.1 * low.abs(), low + 0.1 * low.abs()],
    }
}

/// Ends moved outwards to the next named values, where those are not far.
pub(super) fn rounded(axis: &Axis, [low, high]: [f64; 2], count: usize) -> [f64; 2] {
    if axis.range.is_some() || axis.scale == Scale::Logarithmic {
        return [low, high];
    }
    let step = step(high - low, count);
    [(low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step]
}

/// The values that an axis names between its ends, some `count` of them.
pub(super) fn ticks(axis: &Axis, ends: [f64; 2], count: usize) -> Vec<(f64, String)> {
    let [low, high] = ends;
    let slack = 1e-9 * (high - low);
    if !axis.ticks.is_empty() {
        let inside = |(value, _): &&(f64, String)| (low - slack..=high + slack).contains(value);
        return axis.ticks.iter().filter(inside).cloned().collect();
    }
    let values = match axis.scale {
        Scale::Logarithmic => logarithmic(ends, count),
        Scale::Linear => linear(ends, count),
    };
    let step = values.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
    let written = |value: f64| match (axis.unit, axis.scale) {
        (Unit::Percent, _) => format!("{} %", trimmed(&format!("{:.2}", 100.0 * value))),
        (Unit::Number, Scale::Linear) => plain(value, step),
        (Unit::Number, Scale::Logarithmic) => significant(value),
    };
    values.into_iter().map(|value| (value, written(value))).collect()
}

/// A number with as many decimals as its axis has.
fn plain(value: f64, step: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return significant(value);
    }
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 8.0) as usize;
    // A step of 2.5 needs a digit more than its size says.
    let text = trimmed(&format!("{value:.*}", decimals + 1));
    if text == "-0" { "0".to_string() } else { text }
}

fn linear([low, high]: [f64; 2], count: usize) -> Vec<f64> {
    let step = step(high - low, count);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|number| number as f64 * step).collect()
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that divides `span` into at most `count` parts.
pub(in super::super) fn step(span: f64, count: usize) -> f64 {
    let least = span / count.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Powers of ten; 2 and 5 times them where there is room; between them as on a linear axis where there are few.
fn logarithmic([low, high]: [f64; 2], count: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = high.log10() - low.log10();
    let factors: &[f64] = if decades * 3.0 <= count as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (decades / count as f64).ceil().max(1.0) as usize;
    let powers = (first..=last).step_by(every);
    let values: Vec<f64> = powers
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|&value| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(&value))
        .collect();
    if values.len() >= 2 { values } else { linear([low, high], count.min(4)) }
}

impl Laid {
    /// The axis with these ends between two places of the drawing.
    pub(super) fn new(scale: Scale, ends: [f64; 2], places: [f32; 2]) -> Self {
        Self { scale, ends, places }
    }

    /// Its ends.
    pub(super) fn ends(&self) -> [f64; 2] {
        self.ends
    }

    /// The place of a value, where it has one.
    pub(super) fn at(&self, value: f64) -> Option<f32> {
        let along = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.log10(),
        };
        let [low, high] = self.ends.map(along);
        let share = (along(value) - low) / (high - low);
        let [from, to] = self.places;
        share.is_finite().then_some(from + share as f32 * (to - from))
    }

    /// The place of a value, or of the end beyond which it lies.
    pub(super) fn within(&self, value: f64) -> Option<f32> {
        let [low, high] = self.ends;
        // A number that is none stays so.
        self.at(value.max(low).min(high)).filter(|_| !value.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(axis: &Axis, ends: [f64; 2]) -> Vec<String> {
        ticks(axis, ends, 5).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn axes_name_round_values() {
        let numbers = Axis::numbers("");
        assert_eq!(named(&numbers, [0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(named(&numbers, [0.0, 0.012]), ["0", "0.0025", "0.005", "0.0075", "0.01"]);
        assert_eq!(named(&numbers, [-3.0, 4.0]), ["-2", "0", "2", "4"]);
        assert_eq!(named(&Axis::shares(""), [0.0, 1.0]).join(" "), "0 % 20 % 40 % 60 % 80 % 100 %");
        let ratios = Axis::numbers("").logarithmic();
        assert_eq!(named(&ratios, [1.0, 2000.0]), ["1", "10", "100", "1000"]);
        assert_eq!(named(&ratios, [0.02, 0.5]), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
    }

    #[test]
    fn ends_are_never_one_point_and_values_without_a_place_have_none() {
        let axis = Axis::numbers("");
        assert_eq!(ends(&axis, Some([0.0, 0.0])), [-1.0, 1.0]);
        assert_eq!(ends(&axis, None), [0.0, 1.0]);
        assert_eq!(rounded(&axis, [0.13, 0.87], 5), [0.0, 1.0]);
        let laid = Laid::new(Scale::Logarithmic, [1.0, 100.0], [0.0, 50.0]);
        assert_eq!(
            [1.0, 10.0, 0.0, f64::NAN].map(|v| laid.at(v)),
            [Some(0.0), Some(25.0), None, None]
        );
        assert_eq!(laid.within(1e5), Some(50.0));
    }
}
