//! What of a map a change reaches.

use crate::cpu::lower::{Operation, Step, Value};
use std::ops::Range;

/// A rectangle of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// How far one step carries a change: what a result reads along one axis.
#[derive(Clone, Copy)]
struct Reach {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Reach {
    /// The results, of so many, that read something of `changed`.
    fn results(self, changed: &Range<usize>, count: usize) -> Range<usize> {
        let first = (changed.start + self.padding + 1).saturating_sub(self.kernel);
        let first = first.div_ceil(self.stride);
        let end = (changed.end + self.padding).div_ceil(self.stride);
        first.min(count)..end.min(count)
    }
}

impl Window {
    /// A whole map.
    pub fn whole(value: &Value) -> Self {
        Self { rows: 0..value.shape.height, columns: 0..value.shape.width }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() || self.columns.is_empty()
    }

    pub fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The smallest that holds both.
    pub fn with(&self, other: &Self) -> Self {
        let span = |a: &Range<usize>, b: &Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self {
                rows: span(&self.rows, &other.rows),
                columns: span(&self.columns, &other.columns),
            },
        }
    }

    /// What a step that [`is_local`] changes in its result where this part of its input changed.
    pub fn through(&self, step: &Step, result: &Value) -> Self {
        let reach = reach(step).expect("a local step");
        if self.is_empty() {
            return Self::default();
        }
        Self {
            rows: reach.results(&self.rows, result.shape.height),
            columns: reach.results(&self.columns, result.shape.width),
        }
    }
}

/// Whether a step's results each read a few pixels, and there is code for some of them alone.
pub(super) fn is_local(step: &Step) -> bool {
    use network::Activation::Relu;
    reach(step).is_some() && matches!(step.activation, None | Some(Relu))
}

fn reach(step: &Step) -> Option<Reach> {
    match &step.operation {
        Operation::Convolution { shape, .. } => {
            let known = matches!((shape.kernel, shape.padding), (3, 1) | (1, 0));
            let (kernel, stride, padding) = (shape.kernel, shape.stride, shape.padding);
            known.then_some(Reach { kernel, stride, padding })
        }
        &Operation::Subsample { stride, .. } => Some(Reach { kernel: 1, stride, padding: 0 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_are_those_whose_window_meets_the_change() {
        for (kernel, padding) in [(3, 1), (1, 0)] {
            for stride in [1, 2] {
                let reach = Reach { kernel, stride, padding };
                let (length, count) = (9, (9 + 2 * padding - kernel) / stride + 1);
                for start in 0..length {
                    for end in start + 1..=length {
                        let meets = |&result: &usize| {
                            let from = (result * stride) as isize - padding as isize;
                            (from..from + kernel as isize)
                                .any(|at| (start as isize..end as isize).contains(&at))
                        };
                        let expected: Vec<usize> = (0..count).filter(meets).collect();
                        let found = reach.results(&(start..end), count);
                        assert_eq!(found.collect::<Vec<_>>(), expected, "{start}..{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_union_ignores_what_is_empty() {
        let one = Window { rows: 2..4, columns: 5..6 };
        let other = Window { rows: 3..7, columns: 1..2 };
        assert_eq!(one.with(&Window::default()), one);
        assert_eq!(Window::default().with(&one), one);
        assert_eq!(one.with(&other), Window { rows: 2..7, columns: 1..6 });
    }
}
