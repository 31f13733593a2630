//! Whether pixels, epsilon and branches are what they should be.

use super::super::{Flag, branch_name};
use crate::image::{Batch, Shape};
use crate::threat::{Norm, ThreatModel};
use network::Domain;

/// Below a tenth of a grey level, what is measured is rounding.
const SMALLEST_LINF: f64 = 0.1 / 255.0;
/// Above this, an image of any class can be turned to uniform grey.
const LARGEST_LINF: f64 = 0.5;
/// The usual Linf numbers, taken for L2, allow the change of a single pixel.
const SMALLEST_L2: f64 = 0.1;

/// Pixels outside `[0, 1]`, or all in a small corner of it.
pub(super) fn of_pixels(batch: &Batch) -> Vec<Flag> {
    let pixels = batch.images.pixels.iter().copied();
    let (low, high) =
        pixels.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), p| (low.min(p), high.max(p)));
    // NaN is in no range, and minima and maxima pass over it.
    let outside = batch.images.pixels.iter().any(|pixel| !(0.0..=1.0).contains(pixel));
    let found = format!("pixels from {low} to {high}");
    let advice = "divide bytes by 255 once; scaling by mean and deviation belongs inside the model";
    if outside {
        let why = "epsilon is measured in pixels of [0, 1]; in other units it is another question";
        vec![Flag::failure("inputs-outside-range", found, why, advice)]
    } else if high < 2.0 / 255.0 {
        let why = "images this dark were probably divided by 255 twice, and epsilon was not";
        vec![Flag::warning("inputs-nearly-black", found, why, advice)]
    } else {
        Vec::new()
    }
}

/// A radius that is probably another one's number (T17, T18).
pub(super) fn of_threat(threat: &ThreatModel, shape: Shape) -> Vec<Flag> {
    let (norm, epsilon) = (threat.norm(), threat.epsilon().exact());
    if epsilon == 0.0 {
        // The clean accuracy under another name: asked for, not mistaken.
        return Vec::new();
    }
    let half_of_all = 0.5 * (shape.len() as f64).sqrt();
    let (wrong, hint) = match norm {
        Norm::Linf if epsilon > LARGEST_LINF => (true, "turns any image to grey"),
        Norm::Linf if epsilon < SMALLEST_LINF => (true, "is below a tenth of a grey level"),
        Norm::L2 if epsilon > half_of_all => (true, "turns any image to grey"),
        Norm::L2 if epsilon < SMALLEST_L2 => (true, "is a number usual for Linf"),
        _ => (false, ""),
    };
    let found = format!("{norm} epsilon {} {hint}", threat.epsilon().written());
    let why = "accuracy under such a radius says nothing of robustness";
    let advice = "write 8/255 for Linf, 0.5 for L2 on small images, 3.0 for L2 at 224 pixels";
    wrong.then(|| Flag::warning("epsilon-unit", found, why, advice)).into_iter().collect()
}

/// The attack sees another branch than the one that is judged (T6, T9).
pub(super) fn of_branches(judged: Domain, attacked: Domain) -> Vec<Flag> {
    let (judged_name, attacked_name) = (branch_name(judged), branch_name(attacked));
    let found = format!("the {judged_name} branch is judged, the attack sees the {attacked_name}");
    let why = "images crafted through another branch are transferred ones, and weaker";
    let advice = "quote it as a transfer attack; for robustness attack the branch that is judged";
    let differ = judged != attacked;
    differ.then(|| Flag::warning("branch-mismatch", found, why, advice)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(norm: Norm, epsilon: &str) -> Vec<String> {
        let threat = ThreatModel::new(norm, epsilon.parse().expect("a length")).expect("a threat");
        let flags = of_threat(&threat, Shape::new(3, 32, 32));
        flags.into_iter().map(|flag| flag.name).collect()
    }

    #[test]
    fn g12_a_radius_in_the_wrong_unit_is_flagged_and_the_usual_ones_are_not() {
        for usual in ["1/255", "4/255", "8/255", "16/255", "0.1", "0.3", "0", "0.25/255"] {
            assert!(names(Norm::Linf, usual).is_empty(), "{usual}");
        }
        for usual in ["0.25", "0.5", "1", "3.0"] {
            assert!(names(Norm::L2, usual).is_empty(), "{usual}");
        }
        // 8/255 divided twice; 255/255; an Linf number for L2; larger than the image.
        for (norm, wrong) in
            [(Norm::Linf, "0.000123"), (Norm::Linf, "1"), (Norm::L2, "8/255"), (Norm::L2, "128")]
        {
            assert_eq!(names(norm, wrong), ["epsilon-unit"], "{wrong}");
        }
    }

    #[test]
    fn g12_pixels_in_other_units_are_flagged() {
        let batch = |pixel: f32| Batch {
            images: crate::image::Images {
                count: 1,
                shape: Shape::new(1, 1, 2),
                pixels: vec![0.0, pixel],
            },
            labels: vec![0],
            indices: vec![0],
        };
        let flags = |pixel| of_pixels(&batch(pixel)).into_iter().map(|flag| flag.name);
        assert_eq!(flags(0.9).count(), 0);
        for (pixel, name) in [
            (200.0, "inputs-outside-range"),
            (-0.5, "inputs-outside-range"),
            (f32::NAN, "inputs-outside-range"),
            (0.9 / 255.0, "inputs-nearly-black"),
        ] {
            assert!(flags(pixel).eq([name]), "{pixel}");
        }
    }
}
