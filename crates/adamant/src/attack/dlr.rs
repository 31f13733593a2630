//! The difference of logits ratio: a margin that does not change when all logits are scaled or shifted, so that a network
//! cannot hide its gradients behind large logits.
//!
//! Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness", section 4.1. Computed in double precision
//! whatever the logits are.

/// What keeps a quotient of equal logits finite, as in the authors' code.
const TINY: f64 = 1e-12;

/// `-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))`, where `z_(k)` is the k-th largest logit.
///
/// Shapes: `row` is `[classes]`, at least 3.
pub fn dlr<T: Copy + Into<f64>>(row: &[T], label: u32) -> f64 {
    let [first, second, third] = largest::<3, T>(row);
    let label = label as usize;
    let rival = if label == first { second } else { first };
    (row[rival].into() - row[label].into()) / (row[first].into() - row[third].into() + TINY)
}

/// Adds `factor` times the gradient of [`dlr`].
///
/// Shapes: `row` and `gradient` are `[classes]`, at least 3.
pub fn add_dlr_gradient<T: Copy + Into<f64>>(
    row: &[T],
    label: u32,
    factor: f64,
    gradient: &mut [f64],
) {
    let [first, second, third] = largest::<3, T>(row);
    let label = label as usize;
    let rival = if label == first { second } else { first };
    let spread = row[first].into() - row[third].into() + TINY;
    let ratio = (row[rival].into() - row[label].into()) / spread;
    gradient[rival] += factor / spread;
    gradient[label] -= factor / spread;
    gradient[first] -= factor * ratio / spread;
    gradient[third] += factor * ratio / spread;
}

/// `-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)`: towards one class, away from the label.
///
/// Shapes: `row` is `[classes]`, at least 4. Source: as [`dlr`], section 4.2.
pub fn targeted_dlr<T: Copy + Into<f64>>(row: &[T], label: u32, target: u32) -> f64 {
    let (numerator, spread, _) = parts(row, label, target);
    numerator / spread
}

/// Adds `factor` times the gradient of [`targeted_dlr`].
///
/// Shapes: `row` and `gradient` are `[classes]`, at least 4.
pub fn add_targeted_dlr_gradient<T: Copy + Into<f64>>(
    row: &[T],
    label: u32,
    target: u32,
    factor: f64,
    gradient: &mut [f64],
) {
    let (numerator, spread, [first, _, third, fourth]) = parts(row, label, target);
    let ratio = numerator / spread;
    gradient[target as usize] += factor / spread;
    gradient[label as usize] -= factor / spread;
    gradient[first] -= factor * ratio / spread;
    gradient[third] += 0.5 * factor * ratio / spread;
    gradient[fourth] += 0.5 * factor * ratio / spread;
}

fn parts<T: Copy + Into<f64>>(row: &[T], label: u32, target: u32) -> (f64, f64, [usize; 4]) {
    let order = largest::<4, T>(row);
    let [first, _, third, fourth] = order.map(|class| row[class].into());
    let numerator = row[target as usize].into() - row[label as usize].into();
    (numerator, first - 0.5 * (third + fourth) + TINY, order)
}

/// The classes of the largest logits in order, the first of equals first.
fn largest<const N: usize, T: Copy + Into<f64>>(row: &[T]) -> [usize; N] {
    assert!(row.len() >= N, "an attack checks that its loss has {N} classes");
    let mut order = [usize::MAX; N];
    for class in 0..row.len() {
        let value = row[class].into();
        let is_below = |&other: &usize| other == usize::MAX || value > row[other].into();
        if let Some(place) = order.iter().position(is_below) {
            order[place..].rotate_right(1);
            order[place] = class;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_the_values_are_those_of_the_formula() {
        let row = [1.0_f32, 4.0, 2.5, -1.0, 3.0];
        // The label is on top: -(4 - 3) / (4 - 2.5). Below: -(1 - 4) / (4 - 2.5).
        assert!((dlr(&row, 1) + 1.0 / 1.5).abs() < 1e-9);
        assert!((dlr(&row, 0) - 3.0 / 1.5).abs() < 1e-9);
        // -(4 - 3) / (4 - (2.5 + 1) / 2).
        assert!((targeted_dlr(&row, 1, 4) + 1.0 / 2.25).abs() < 1e-9);
        // Of equal logits the quotient is zero, not undefined.
        assert_eq!(dlr(&[1.0_f32; 4], 2), 0.0);
    }

    #[test]
    fn neither_scale_nor_shift_of_the_logits_changes_it() {
        let row = [1.0, 4.0, 2.5, -1.0, 3.0];
        let moved = row.map(|z| 1e4 * z + 77.0);
        for label in 0..5 {
            assert!((dlr(&row, label) - dlr(&moved, label)).abs() < 1e-9);
            assert!((targeted_dlr(&row, label, 3) - targeted_dlr(&moved, label, 3)).abs() < 1e-9);
        }
    }

    #[test]
    fn g28_the_gradients_are_central_differences() {
        let row = [1.5, -0.25, 3.0, 0.125, -2.0, 0.5];
        let check = |value: &dyn Fn(&[f64]) -> f64, gradient: &[f64]| {
            for position in 0..row.len() {
                let shifted = |h: f64| {
                    let mut moved = row;
                    moved[position] += h;
                    value(&moved)
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((gradient[position] - difference).abs() < 1e-8, "{gradient:?}");
            }
        };
        for label in 0..6 {
            let mut gradient = [0.0; 6];
            add_dlr_gradient(&row, label, 2.0, &mut gradient);
            check(&|z| 2.0 * dlr(z, label), &gradient);
            for target in (0..6).filter(|&target| target != label) {
                let mut gradient = [0.0; 6];
                add_targeted_dlr_gradient(&row, label, target, 2.0, &mut gradient);
                check(&|z| 2.0 * targeted_dlr(z, label, target), &gradient);
            }
        }
    }
}
